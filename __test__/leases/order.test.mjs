// First come, first served, over processes; hand-over by push; and what waiting costs Redis.
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redis, rejection, scriptCalls, startProcess, startRedis, until } from '../support/helpers.mjs'

let server
let limiter
const processes = []
beforeAll(async () => {
  server = await startRedis()
  limiter = new Limiter(server.url)
  for (let i = 0; i < 3; i++) processes.push(startProcess({ url: server.url }))
})
afterAll(() => server?.stop())
afterAll(async () => {
  await Promise.all(processes.map((each) => each.stop()))
  await limiter?.close()
})

const waiting = (key, count) => until(async () => (await limiter.status(key)).waiting === count, `${count} wait`)

describe('the line', () => {
  test('a hundred waiters of three processes are served in the order in which they came', async () => {
    const terms = { key: 'order', limit: 1, limitTimeout: 25 }
    const first = await limiter.acquire(terms)
    const passes = []
    for (let i = 0; i < 100; i++) {
      passes.push(processes[i % 3].call('pass', terms))
      await waiting('order', i + 1)
    }
    await first.release()
    const tokens = await Promise.all(passes)
    // A token is given with the grant and grows, so it tells the order without any clock.
    expect(tokens).toEqual([...tokens].sort((a, b) => a - b))
    expect(tokens[0]).toBeGreaterThan(first.fencingToken)
  })

  test('a newcomer that would fit does not overtake one that waits', async () => {
    const small = await limiter.acquire({ key: 'overtake', limit: 2 })
    const large = processes[0].call('acquire', { key: 'overtake', limit: 2, weight: 2 })
    await waiting('overtake', 1)
    expect(await limiter.tryAcquire({ key: 'overtake', limit: 2 })).toBeNull()
    const newcomer = limiter.acquire({ key: 'overtake', limit: 2 })
    await waiting('overtake', 2)
    await small.release()
    const { leaseId, slots, fencingToken } = await large
    expect(slots).toEqual([1, 2])
    await processes[0].call('release', leaseId)
    const lease = await newcomer
    expect(lease.fencingToken).toBeGreaterThan(fencingToken)
    await lease.release()
  })

  test('limitTimeout 0 fails at once while others wait', async () => {
    const holder = await limiter.acquire({ key: 'at once', limit: 1 })
    const next = processes[0].call('pass', { key: 'at once', limit: 1 })
    await waiting('at once', 1)
    const error = await rejection(limiter.acquire({ key: 'at once', limit: 1, limitTimeout: 0 }))
    expect(error).toMatchObject({ code: 'ERR_LIMIT_EXCEEDED', held: 1, waiting: 1, limitTimeout: 0 })
    expect(error.waited).toBeLessThan(1)
    await holder.release()
    await next
  })

  test('a waiter that was killed at the head holds nobody up', async () => {
    const victim = startProcess({ url: server.url })
    const holder = await limiter.acquire({ key: 'killed', limit: 1 })
    await victim.call('wait', { key: 'killed', limit: 1, limitTimeout: 60 }, 1)
    await waiting('killed', 1)
    const next = limiter.acquire({ key: 'killed', limit: 1 })
    await waiting('killed', 2)
    victim.kill('SIGKILL')
    await victim.ended
    await holder.release()
    const lease = await next
    expect(lease.waited).toBeLessThan(3)
    await lease.release()
  })
})

describe('waiting', () => {
  test('a slot is handed over by push within 100 ms, though the interval is 30 s', async () => {
    const terms = { key: 'push', limit: 1, limitInterval: 30 }
    const [giver, taker] = processes
    const times = []
    for (let i = 0; i < 5; i++) {
      const { leaseId } = await giver.call('acquire', terms)
      const next = taker.call('acquire', terms)
      await waiting('push', 1)
      const { at: releasedAt } = await giver.call('release', leaseId)
      const { at: grantedAt, leaseId: nextId } = await next
      times.push(grantedAt - releasedAt)
      await taker.call('release', nextId)
    }
    // The safety look comes about once a second: it can't make the median this small.
    expect(times.sort((a, b) => a - b)[2]).toBeLessThan(100)
  })

  test('five hundred idle waiters send fewer than five calls a second', async () => {
    const holder = await limiter.acquire({ key: 'idle', limit: 1 })
    const crowd = startProcess({ url: server.url })
    await crowd.call('wait', { key: 'idle', limit: 1, limitTimeout: 60 }, 500)
    await waiting('idle', 500)
    const before = await scriptCalls(server.port)
    const windowMs = 4000
    await redis(server.port, 'BLPOP', 'nobody pushes here', windowMs / 1000)
    const calls = (await scriptCalls(server.port)) - before
    expect(calls / (windowMs / 1000)).toBeLessThan(5)
    crowd.kill('SIGKILL')
    await crowd.ended
    await holder.release()
  })
})
