// What users of the Python libraries concurrency-limit and retools know from their README, done with this package.
import { Limiter, setDefaultLimiter, withLimit } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rejection, startRedis } from '../support/helpers.mjs'

let server
let limiter
const held = []
beforeAll(async () => {
  server = await startRedis()
  limiter = new Limiter({ host: '127.0.0.1', port: server.port })
})
afterAll(() => server?.stop())
afterAll(async () => {
  await limiter?.close()
})

async function fill(key, count) {
  const leases = await Promise.all(Array.from({ length: count }, () => limiter.acquire({ key, limit: count })))
  held.push(...leases)
  return leases
}

describe('concurrency-limit for Python', () => {
  test('example 1: up to 100 run at once; who finds no place within the time fails', async () => {
    await fill('example-1', 100)
    const config = { key: 'example-1', limit: 100, limitTimeout: 0.3 }
    const error = await rejection(limiter.withLimit(config, () => 'not run'))
    expect(error).toMatchObject({ code: 'ERR_LIMIT_EXCEEDED', held: 100, limit: 100, limitTimeout: 0.3 })
    expect(error.waited).toBeGreaterThanOrEqual(0.3)
  })

  test('example 2: an interval of one second is accepted, and a place is still taken when it becomes free', async () => {
    const [first] = await fill('example-2', 100)
    const next = limiter.withLimit({ key: 'example-2', limit: 100, limitTimeout: 10, limitInterval: 1 }, (l) => l.slot)
    await first.release()
    expect(await next).toBe(first.slot)
  })

  test('example 3: with a time-out of zero, who finds no place fails immediately', async () => {
    await fill('example-3', 100)
    const config = { key: 'example-3', limit: 100, limitTimeout: 0 }
    const error = await rejection(limiter.withLimit(config, () => 'not run'))
    expect(error).toMatchObject({ code: 'ERR_LIMIT_EXCEEDED', held: 100 })
    expect(error.waited).toBeLessThan(1)
  })

  test('example 4: the work is told its number, from 1 to 100, and no two have the same', async () => {
    let inside = 0
    let allAreIn
    const everyone = new Promise((resolve) => {
      allAreIn = resolve
    })
    const numbers = await Promise.all(
      Array.from({ length: 100 }, () =>
        limiter.withLimit({ key: 'example-4', limit: 100 }, async ({ slot }) => {
          if (++inside === 100) allAreIn()
          await everyone
          return slot
        }),
      ),
    )
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
  })

  test('example 5: one connection serves the whole application', async () => {
    setDefaultLimiter(limiter)
    const job = () => withLimit({ key: 'example-5', limit: 100 }, (lease) => lease.slot)
    expect(await job()).toBe(1)
    const decorated = limiter.wrap({ key: 'example-5', limit: 100 }, (a, b) => a + b)
    expect(await decorated(1, 2)).toBe(3)
  })

  test('example 6: a URL says where Redis is', async () => {
    const other = new Limiter(`redis://127.0.0.1:${server.port}/0`)
    const lease = await limiter.acquire({ key: 'example-6', limit: 1 })
    expect(await other.tryAcquire({ key: 'example-6', limit: 1 })).toBeNull()
    await lease.release()
    expect(await other.withLimit({ key: 'example-6', limit: 1 }, () => 'done')).toBe('done')
    await other.close()
  })
})

test('retools: a limit is acquired and released by the name of the operation', async () => {
  const acquireLimit = (holder) => limiter.tryAcquire({ key: 'my-operation', limit: 10, limitExpire: 45, holder })
  for (let i = 0; i < 10; i++) expect(await acquireLimit(`operation-${i}`)).not.toBeNull()
  expect(await acquireLimit('operation-10')).toBeNull()
  expect(await limiter.release({ key: 'my-operation', holder: 'operation-3' })).toBe(true)
  expect(await limiter.release({ key: 'my-operation', holder: 'operation-3' })).toBe(false)
  expect((await acquireLimit('operation-10')).slot).toBe(4)
})
