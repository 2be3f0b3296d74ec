// An AbortSignal takes a request out of the line at once, and nothing of it stays behind.
import { getEventListeners } from 'node:events'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useRedis } from './fixtures.mjs'
import { rejection, until } from './helpers.mjs'

const server = useRedis()

describe.each(['Redis', 'memory:'])('on %s', (place) => {
  let limiter
  beforeAll(() => {
    limiter = new Limiter(place === 'Redis' ? server.url : place)
  })
  afterAll(() => limiter.close())

  const counts = async (key) => {
    const { held, waiting } = await limiter.status(key)
    return { held, waiting }
  }

  test('a signal that is aborted already rejects with its reason, and nothing is asked', async () => {
    const reason = new Error('changed my mind')
    const signal = AbortSignal.abort(reason)
    const config = { key: 'never', limit: 1, signal }
    expect(await rejection(limiter.acquire(config))).toBe(reason)
    expect(await rejection(limiter.tryAcquire(config))).toBe(reason)
    expect(await rejection(limiter.withLimit(config, () => {}))).toBe(reason)
    expect(await counts('never')).toEqual({ held: 0, waiting: 0 })
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  test('an abort while waiting rejects with its reason within the same turn, and the line is left', async () => {
    const holder = await limiter.acquire({ key: 'line', limit: 1 })
    const controller = new AbortController()
    const waiter = limiter.acquire({ key: 'line', limit: 1, signal: controller.signal })
    await until(async () => (await counts('line')).waiting === 1, 'it waits')
    let settled = false
    const rejected = rejection(waiter).finally(() => {
      settled = true
    })
    controller.abort('a reason of any type')
    await Promise.resolve().then(() => new Promise((resolve) => process.nextTick(resolve)))
    expect(settled).toBe(true)
    expect(await rejected).toBe('a reason of any type')
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
    await until(async () => (await counts('line')).waiting === 0, 'nobody waits')
    await holder.release()
    expect(await counts('line')).toEqual({ held: 0, waiting: 0 })
  })

  test('AbortSignal.timeout works as a limit of time', async () => {
    const holder = await limiter.acquire({ key: 'timeout', limit: 1 })
    const error = await rejection(limiter.acquire({ key: 'timeout', limit: 1, signal: AbortSignal.timeout(50) }))
    expect(error.name).toBe('TimeoutError')
    await holder.release()
  })

  test('no listener stays on the signal after a grant or a refusal', async () => {
    const { signal } = new AbortController()
    const lease = await limiter.acquire({ key: 'listeners', limit: 1, signal })
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    await rejection(limiter.acquire({ key: 'listeners', limit: 1, limitTimeout: 0, signal }))
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    await lease.release()
  })

  test('an abort after the grant takes nothing away', async () => {
    const controller = new AbortController()
    const lease = await limiter.acquire({ key: 'after', limit: 1, signal: controller.signal })
    controller.abort()
    expect(lease.lost).toBe(false)
    expect(await lease.release()).toBe(true)
  })

  test('aborts that race with grants leave no holder and no waiter behind', async () => {
    const outcomes = { granted: 0, aborted: 0 }
    await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        const controller = new AbortController()
        const asked = limiter.acquire({ key: 'race', limit: 3, signal: controller.signal })
        // From the same turn to some milliseconds later, so that aborts meet requests at every stage; a few stay.
        if (i % 4 === 0) controller.abort('raced')
        else if (i % 10 !== 1) setTimeout(() => controller.abort('raced'), Math.random() * 20)
        try {
          const lease = await asked
          outcomes.granted++
          await lease.release()
        } catch (reason) {
          expect(reason).toBe('raced')
          outcomes.aborted++
        }
      }),
    )
    expect(outcomes.granted).toBeGreaterThanOrEqual(15)
    expect(outcomes.aborted).toBeGreaterThanOrEqual(75)
    await until(async () => {
      const { held, waiting } = await counts('race')
      return held === 0 && waiting === 0
    }, 'nothing is left')
  })
})
