// limitHold ends what runs too long, wherever the lease is in its life, and the slot is somebody else's by then.
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRedis, until, watchPauses } from '../support/helpers.mjs'

let server
let limiter
let other
beforeAll(async () => {
  server = await startRedis()
  limiter = new Limiter(server.url)
  other = new Limiter(server.url, { clientName: 'other' })
})
afterAll(() => server?.stop())
afterAll(async () => {
  await limiter?.close()
  await other?.close()
})

const ms = () => performance.now()

/** Holds for too long while another waits: when it was told, and when the other was granted, ms after the grant. */
async function overrun(key, config, { pushed = false } = {}) {
  const before = pushed ? await limiter.acquire({ key, limit: 1 }) : undefined
  const asked = limiter.acquire({ key, limit: 1, ...config })
  if (pushed) await until(async () => (await limiter.status(key)).waiting === 1, 'it waits')
  await before?.release()
  const lease = await asked
  const grantedAt = ms()
  const aborted = new Promise((resolve) => lease.signal.addEventListener('abort', () => resolve(ms() - grantedAt)))
  const next = other.acquire({ key, limit: 1 }).then(async (lease) => {
    const after = ms() - grantedAt
    await lease.release()
    return after
  })
  const result = { told: await aborted, next: await next, why: lease.signal.reason.why }
  expect(lease.lost).toBe(true)
  expect(await lease.release()).toBe(false)
  return result
}

describe.concurrent('a hold that runs too long ends', () => {
  const cases = {
    'within the first lease': { limitExpire: 60, limitHold: 0.8 },
    'between renewals': { limitExpire: 1, limitHold: 1.5 },
    'after many renewals': { limitExpire: 1, limitHold: 3.5 },
    'without renewals': { limitExpire: 5, limitHold: 0.7, renew: false },
  }
  for (const [name, config] of Object.entries(cases)) {
    test.each([false, true])(`${name}, handed over: %s`, async (pushed) => {
      const pauses = watchPauses()
      const { told, next, why } = await overrun(`${name} ${pushed}`, config, { pushed })
      pauses.stop()
      // The core's thread may be as late as this one.
      const late = 2 * pauses.longest()
      const holdMs = config.limitHold * 1000
      expect(told).toBeGreaterThan(holdMs * 0.85)
      expect(told).toBeLessThan(holdMs + 20 + late)
      expect(next).toBeGreaterThan(told - 5)
      expect(next).toBeLessThan(holdMs + 250 + late)
      expect(why).toMatch(/\w/)
    })
  }

  test('and work that ends before is not hurried', async () => {
    const lease = await limiter.acquire({ key: 'in time', limit: 1, limitExpire: 1, limitHold: 4 })
    const start = ms()
    await until(() => ms() - start > 3500, 'most of it has passed')
    expect(lease.lost).toBe(false)
    expect(await lease.release()).toBe(true)
  })
})
