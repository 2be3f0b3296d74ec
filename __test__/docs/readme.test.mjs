// Every js program of the README runs as it stands there and ends by itself without an error or a warning.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runNode, startRedis } from '../support/programs.mjs'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const programs = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, source]) => source)
const cells = (heading) => {
  const section = readme.split(`## ${heading}\n`)[1].split('\n## ')[0]
  return [...section.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell]) => cell.match(/\w+/g)).sort()
}

let redis
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis?.stop())

test('the README has programs', () => {
  expect(programs.length).toBeGreaterThanOrEqual(6)
})

test.each(programs.map((source, i) => [i + 1, source]))('program %i of the README runs', async (_, source) => {
  const { code, output } = await runNode(['--input-type=module', '-'], { source, env: { REDIS_URL: redis.url } })
  expect(output).not.toMatch(/warning|error|undefined/i)
  expect(code).toBe(0)
  expect(output).not.toBe('')
})

describe('the README names what the types have, no more and no fewer', () => {
  const types = readFileSync(new URL('../../index.d.ts', import.meta.url), 'utf8')
  const body = (kind, name) => new RegExp(`${kind} ${name}\\b[^{]*\\{\n(.*?)^\\}`, 'ms').exec(types)[1]
  const members = (text, member) => [...new Set([...text.matchAll(member)].map(([, name]) => name))].sort()
  const OPTION = /^ {2}(?:readonly )?(\w+)\??:/gm

  test('options', () => {
    expect(cells('Options of a request')).toEqual(members(body('interface', 'LimitConfig'), OPTION))
    expect(cells('Options of the connection')).toEqual(members(body('interface', 'ConnectionOptions'), OPTION))
  })

  test('methods', () => {
    const calls = readme.split('## All methods\n')[1].split('\n## ')[0]
    const named = members(calls, /(?:^\| |, )`(?:new )?(\w+)\(/gm)
    const spoken = (name) => (name === 'constructor' ? 'Limiter' : name)
    expect(named).toEqual(
      members(body('class', 'Limiter'), /^ {2}(\w+)(?:<.*>)?\(/gm)
        .map(spoken)
        .sort(),
    )
  })

  test('events', () => {
    expect(cells('Events')).toEqual(members(body('interface', 'LimiterEvents'), OPTION))
  })
})
