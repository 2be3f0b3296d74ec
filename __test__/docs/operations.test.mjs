// The rights that docs/operations.md names are enough, and the scripts use no others.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Limiter } from '../../index.js'
import { until } from '../support/helpers.mjs'
import { ask, runNode, startRedis } from '../support/programs.mjs'

const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
const [, rights] = /^```\n(ACL SETUSER .*?)^```$/ms.exec(operations)
const permitted = [...rights.matchAll(/\+([\w|]+)/g)].map(([, name]) => name)

let redis
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis?.stop())

test('every command of the library is among the documented rights', () => {
  const folder = fileURLToPath(new URL('../../crates/core/lua', import.meta.url))
  const scripts = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.lua'))
  const text = scripts.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n')
  const used = [...text.matchAll(/\b(?:call|try|write)\(\s*'([A-Z]+)'/g)].map(([, name]) => name.toLowerCase())
  expect(used.length).toBeGreaterThan(5)
  expect(permitted).toEqual(expect.arrayContaining(used))
})

test('a user with the documented rights can do all that the package does', async () => {
  // Before 7.0 there are no functions, and no rights to them.
  const has7 = !(await ask(redis.port, 'FUNCTION LIST')).startsWith('-')
  const known = has7 ? rights : rights.replace('+fcall +function|load ', '')
  expect(await ask(redis.port, known.replace(/\s+/g, ' ').trim())).toBe('+OK\r\n')
  const source = `
    import { Limiter } from 'concurrency-limit'
    const limiter = new Limiter({ clientName: 'rights' })
    limiter.on('pushUnavailable', () => console.log('no push'))
    const terms = { key: 'k', limit: 1 }
    const first = await limiter.acquire(terms)
    const second = limiter.acquire(terms)
    while ((await limiter.status('k')).waiting < 1) await new Promise((resolve) => setTimeout(resolve, 5))
    await first.release()
    await (await second).release()
    await limiter.clean('k')
    for await (const key of limiter.keys()) console.log('key', key)
    await limiter.close()`
  const url = redis.url.replace('//', '//limiter:password@')
  const { code, output } = await runNode(['--input-type=module', '-'], { source, env: { REDIS_URL: url } })
  expect(output).toBe('key k\n')
  expect(code).toBe(0)
})

test('a key is paused by a lease of all slots, as documented, and goes on from any process', async () => {
  const [, terms] = /^const all = (\{.*\})$/m.exec(operations)
  const all = new Function(`return ${terms}`)()
  const { key, limit } = all
  const limiter = new Limiter(redis.url)
  const elsewhere = new Limiter(redis.url, { clientName: 'elsewhere' })
  try {
    const works = await limiter.acquire({ key, limit })
    const paused = limiter.acquire({ ...all, limitExpire: 3600, renew: false })
    await until(async () => (await limiter.status(key)).waiting === 1, 'the pause waits')
    let isIn = false
    const comes = elsewhere.withLimit({ key, limit }, () => {
      isIn = true
    })
    await until(async () => (await limiter.status(key)).waiting === 2, 'the next waits')
    await works.release()
    expect((await paused).slots).toHaveLength(limit)
    expect(await limiter.status(key)).toMatchObject({ held: limit, waiting: 1 })
    expect(isIn).toBe(false)
    await limiter.close({ release: false })
    expect((await elsewhere.status(key)).held).toBe(limit)
    expect(await elsewhere.release({ key, holder: 'pause' })).toBe(true)
    await comes
    expect(isIn).toBe(true)
  } finally {
    await limiter.close()
    await elsewhere.close()
  }
})
