// Aborts and time-outs that race with grants: every request is settled, whichever way, and what nobody took comes back.
import { Limiter } from 'concurrency-limit'
import { expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { until } from '../support/helpers.mjs'

const server = useRedis()

const LIMIT = 5
const BATCH = 500
const pick = (...choices) => choices[Math.floor(Math.random() * choices.length)]

/** How one request ended, after its lease, if it got one, was given back. */
async function request(limiter, key, inside) {
  const abort = new AbortController()
  const signal = pick(undefined, abort.signal, abort.signal)
  const limitTimeout = pick(0, 0.001, 0.002, 0.005, 0.02, 5)
  const asked = limiter.acquire({ key, limit: LIMIT, limitTimeout, signal, priority: pick(0, 0, 1) })
  pick(
    () => abort.abort(),
    () => queueMicrotask(() => abort.abort()),
    () => setImmediate(() => abort.abort()),
    () => setTimeout(() => abort.abort(), pick(1, 1, 2, 5, 10)),
  )()
  let lease
  try {
    lease = await asked
  } catch (error) {
    if (error === abort.signal.reason) return 'aborted'
    return error.code
  }
  expect(inside.has(lease.slot)).toBe(false)
  inside.add(lease.slot)
  expect(inside.size).toBeLessThanOrEqual(LIMIT)
  await pick(undefined, undefined, new Promise((resolve) => setImmediate(resolve)))
  inside.delete(lease.slot)
  expect(await lease.release()).toBe(true)
  return 'granted'
}

async function expectAllSettled(limiters, total) {
  const key = 'race'
  const inside = new Set()
  const ends = {}
  const ask = async (limiter) => {
    // Connected, so that a time-out is one of the line.
    await limiter.status(key)
    for (let done = 0; done < total / limiters.length; done += BATCH) {
      const batch = await Promise.all(Array.from({ length: BATCH }, () => request(limiter, key, inside)))
      for (const end of batch) ends[end] = (ends[end] ?? 0) + 1
    }
  }
  await Promise.all(limiters.map(ask))
  const { granted, aborted, ERR_LIMIT_EXCEEDED: timedOut, ...others } = ends
  expect(others).toEqual({})
  expect(granted + aborted + timedOut).toBe(total)
  for (const count of [granted, aborted, timedOut]) expect(count).toBeGreaterThan(total / 100)
  for (const limiter of limiters) {
    await until(async () => {
      const { held, waiting } = await limiter.status(key)
      return held === 0 && waiting === 0
    }, 'nothing is held, nobody waits')
    expect(await limiter.stats()).toMatchObject({ held: 0, waiting: 0 })
    await limiter.close()
  }
}

test('a hundred thousand requests that are aborted or time out, on the embedded store', async () => {
  await expectAllSettled([new Limiter('memory:')], 100_000)
}, 60_000)

test('ten thousand of them on Redis, from two limiters at once', async () => {
  await expectAllSettled(
    ['one', 'two'].map((clientName) => new Limiter(server.url, { clientName })),
    10_000,
  )
})
