// The package is right for every way of loading it and of finding its types, as the tools that look for mistakes in
// that say of its tarball.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { packHere } from '../support/installed.mjs'
import { runNode } from '../support/programs.mjs'

let packed
beforeAll(() => {
  packed = packHere()
}, 60_000)
afterAll(() => packed?.remove())

test('publint finds nothing', async () => {
  const bytes = readFileSync(packed.main.tarball)
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  const { messages } = await publint({ pack: { tarball }, strict: true })
  expect(messages).toEqual([])
})

test('attw finds the types for node10, node16 and bundlers, from ESM and CommonJS', async () => {
  const attw = fileURLToPath(import.meta.resolve('@arethetypeswrong/cli/package.json')).replace(
    'package.json',
    'dist/index.js',
  )
  const { code, output } = await runNode([attw, packed.main.tarball, '--format', 'json'])
  const { analysis, problems } = JSON.parse(output)
  expect(problems).toEqual({})
  for (const entry of ['.', './otel']) {
    const ways = Object.values(analysis.entrypoints[entry].resolutions)
    expect(ways.map(({ resolutionKind }) => resolutionKind)).toEqual(['node10', 'node16-cjs', 'node16-esm', 'bundler'])
    for (const { resolution } of ways) expect(resolution).toMatchObject({ isTypeScript: true })
  }
  expect(code).toBe(0)
})
