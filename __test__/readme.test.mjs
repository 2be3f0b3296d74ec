// Every js program of the README runs as it stands there and ends by itself without an error or a warning.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runNode, startRedis } from './programs.mjs'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const programs = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, source]) => source)
const options = (heading) => {
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

test('the README names the options that the types have, no more and no fewer', () => {
  const types = readFileSync(new URL('../index.d.ts', import.meta.url), 'utf8')
  const members = (name) => {
    const body = new RegExp(`interface ${name}\\b[^{]*\\{(.*?)^\\}`, 'ms').exec(types)[1]
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, member]) => member).sort()
  }
  expect(options('Options of a request')).toEqual(members('LimitConfig'))
  expect(options('Options of the connection')).toEqual(members('ConnectionOptions'))
})
