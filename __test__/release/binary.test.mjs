// The binary as it is published runs on old systems, is no larger than it should be, and has nothing of the machine
// that built it. `npm run test:package` builds it and names its folder in RELEASE_BINARIES.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needs } from '../support/elf.mjs'
import { packHere } from '../support/installed.mjs'

const MIB = 2 ** 20
const GLIBC_FLOOR_MINOR = 17 // CentOS 7, Amazon Linux 2, Debian 8: older than any that Node.js 20 runs on
const folder = process.env.RELEASE_BINARIES
const name = readdirSync(folder).find((file) => file.endsWith('.node'))
const binary = join(folder, name)

let packed
beforeAll(() => {
  packed = packHere()
}, 60_000)
afterAll(() => packed?.remove())

test('the binary and its tarball are small', () => {
  const { size } = statSync(binary)
  console.log(`${name}: ${size} bytes; ${packed.platform.size} packed with its licences`)
  expect(size).toBeLessThan(5 * MIB)
  expect(packed.platform.size).toBeLessThan(2.5 * MIB)
})

test('the binary names no folder of the machine that built it', () => {
  const text = readFileSync(binary, 'latin1')
  for (const place of [homedir(), process.cwd()]) expect(text.includes(`${place}/`), place).toBe(false)
})

describe.runIf(name.includes('linux'))('on Linux', () => {
  test('it needs the C library and nothing else', () => {
    const { libraries } = needs(binary)
    expect(libraries).not.toEqual([])
    for (const library of libraries) expect(library).toMatch(/^(lib(c|m|dl|pthread|rt)\.so|ld-linux|libc\.musl)/)
  })

  test.runIf(name.includes('gnu'))('it needs no glibc above 2.17', () => {
    const versions = needs(binary).versions.filter((version) => version.startsWith('GLIBC_'))
    const minors = versions.map((version) => Number(/^GLIBC_2\.(\d+)/.exec(version)?.[1]))
    expect(minors.length).toBeGreaterThan(0)
    expect(Math.max(...minors)).toBeLessThanOrEqual(GLIBC_FLOOR_MINOR)
  })
})
