// `settle` counts from the server's start, whose seconds begin anywhere: nothing new is granted sooner, by this process's clock.
import { afterAll, expect, test } from 'vitest'
import { startRedis } from '../helpers.mjs'
import { open } from './clients.mjs'

const SETTLE_MS = 2_000
const ends = []
afterAll(() => Promise.all(ends.map((end) => end())))

/** Resolves when the wall clock is at this part of a second. */
const at = (part) => new Promise((resolve) => setTimeout(resolve, (((part - Date.now()) % 1_000) + 1_000) % 1_000))

test.each([['our own connection', undefined], ['ioredis', 'ioredis'], ['node-redis', 'node-redis']])(
  'over %s, whenever in a second the server starts',
  async (_, client) => {
    const waits = [50, 350, 650, 950].map(async (part) => {
      await at(part)
      const startedAt = performance.now()
      const server = await startRedis({ age: 0 })
      const { limiter, end } = await open({ client, port: server.port })
      ends.push(() => end().then(server.stop))
      const lease = await limiter.acquire({ key: 'k', limit: 1 })
      const took = performance.now() - startedAt
      await lease.release()
      return took
    })
    for (const took of await Promise.all(waits)) {
      expect(took).toBeGreaterThanOrEqual(SETTLE_MS)
      // Nor needlessly later.
      expect(took).toBeLessThan(SETTLE_MS + 4_000)
    }
  },
)
