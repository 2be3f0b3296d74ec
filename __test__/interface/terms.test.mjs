// What the members of a request mean: weight, priority, maxWaiting, holder, label, limits that differ.
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigError, QueueFullError } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { rejection, until } from '../support/helpers.mjs'

const server = useRedis()

describe.each(['Redis', 'memory:'])('on %s', (place) => {
  const limiter = useLimiter(place === 'Redis' ? server : place)

  const waiting = (key, count) => until(async () => (await limiter.status(key)).waiting === count, `${count} wait`)

  test('weight takes that many slots, the smallest ones, all or none', async () => {
    const lease = await limiter.acquire({ key: 'weight', limit: 5, weight: 3 })
    expect(lease.slots).toEqual([1, 2, 3])
    expect(lease.slot).toBe(1)
    expect(await limiter.tryAcquire({ key: 'weight', limit: 5, weight: 3 })).toBeNull()
    const pair = await limiter.acquire({ key: 'weight', limit: 5, weight: 2 })
    expect(pair.slots).toEqual([4, 5])
    expect((await limiter.status('weight')).held).toBe(5)
    await lease.release()
    expect((await limiter.status('weight')).held).toBe(2)
    await pair.release()
  })

  test('a higher priority goes first, and equals go in order', async () => {
    const holder = await limiter.acquire({ key: 'priority', limit: 1 })
    const served = []
    const passes = []
    for (const [i, priority] of [0, -10, 5, 0, 10, 5].entries()) {
      const config = { key: 'priority', limit: 1, priority }
      passes.push(limiter.withLimit(config, () => served.push([priority, i])))
      await waiting('priority', i + 1)
    }
    await holder.release()
    await Promise.all(passes)
    expect(served).toEqual([
      [10, 4],
      [5, 2],
      [5, 5],
      [0, 0],
      [0, 3],
      [-10, 1],
    ])
  })

  test('maxWaiting refuses whoever finds so many in line', async () => {
    const holder = await limiter.acquire({ key: 'max', limit: 1 })
    const config = { key: 'max', limit: 1, maxWaiting: 2 }
    const patient = [limiter.acquire(config), limiter.acquire(config)]
    await waiting('max', 2)
    expect(await rejection(limiter.acquire(config))).toBeInstanceOf(QueueFullError)
    expect(await rejection(limiter.acquire({ ...config, maxWaiting: 0 }))).toBeInstanceOf(QueueFullError)
    await holder.release()
    for (const next of patient) await (await next).release()
  })

  test('a holder name is held once, moves to who asks again, and can be released by name', async () => {
    const config = { key: 'holder', limit: 2, holder: 'order-17' }
    const first = await limiter.acquire(config)
    const second = await limiter.acquire(config)
    expect(second.slot).toBe(first.slot)
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken)
    expect((await limiter.status('holder')).held).toBe(1)
    expect(await first.release()).toBe(false)
    expect((await limiter.status('holder')).held).toBe(1)
    expect(await limiter.release({ key: 'holder', holder: 'order-17' })).toBe(true)
    expect((await limiter.status('holder')).held).toBe(0)
    expect(await second.release()).toBe(false)
  })

  test('a holder name asked with another weight is a ConfigError', async () => {
    const lease = await limiter.acquire({ key: 'mismatch', limit: 3, holder: 'a' })
    const error = await rejection(limiter.acquire({ key: 'mismatch', limit: 3, holder: 'a', weight: 2 }))
    expect(error).toBeInstanceOf(ConfigError)
    expect(await lease.release()).toBe(true)
  })

  test('status shows holders and waiters with all that they said', async () => {
    const a = await limiter.acquire({ key: 'status', limit: 3, weight: 2, holder: 'h', label: 'l', limitExpire: 30 })
    const b = await limiter.acquire({ key: 'status', limit: 3 })
    const c = limiter.acquire({ key: 'status', limit: 3, priority: 4, weight: 3, label: 'patient' })
    await waiting('status', 1)
    const { holders, waiters, ...rest } = await limiter.status('status')
    expect(rest).toEqual({ key: 'status', limit: 3, held: 3, waiting: 1 })
    expect(holders).toHaveLength(2)
    for (const who of [...holders, ...waiters]) expect(who).toMatchObject({ host: hostname(), pid: process.pid })
    expect(holders[0]).toMatchObject({ slots: [1, 2], leaseId: a.leaseId, holder: 'h', label: 'l' })
    expect(holders[0].fencingToken).toBe(a.fencingToken)
    expect(holders[0].endsIn).toBeGreaterThan(20)
    expect(holders[0].endsIn).toBeLessThanOrEqual(30)
    expect(holders[1]).toMatchObject({ slots: [3], leaseId: b.leaseId, holder: null, label: null })
    expect(waiters).toHaveLength(1)
    expect(waiters[0]).toMatchObject({ limit: 3, weight: 3, priority: 4, holder: null, label: 'patient' })
    await a.release()
    await b.release()
    const lease = await c
    expect(lease.leaseId).toBe(waiters[0].leaseId)
    await lease.release()
  })

  test('a smaller limit on the same key takes nothing away and sees what is held', async () => {
    const leases = await Promise.all(Array.from({ length: 4 }, () => limiter.acquire({ key: 'shrink', limit: 4 })))
    expect(await limiter.tryAcquire({ key: 'shrink', limit: 2 })).toBeNull()
    expect(await limiter.tryAcquire({ key: 'shrink', limit: 3 })).toBeNull()
    const fifth = await limiter.tryAcquire({ key: 'shrink', limit: 5 })
    expect(fifth.slot).toBe(5)
    for (const lease of [...leases, fifth]) expect(await lease.release()).toBe(true)
  })

  test('without renew a lease ends by itself, and clean counts it', async () => {
    await limiter.acquire({ key: 'clean', limit: 1, limitExpire: 0.2, renew: false })
    await until(async () => (await limiter.status('clean')).held === 0, 'the lease has ended')
    expect(await limiter.clean('clean')).toBe(1)
    expect(await limiter.clean('clean')).toBe(0)
    expect((await limiter.status('clean')).held).toBe(0)
  })

  test('tryAcquire gives a lease when there is room, and null when not, whatever limitTimeout says', async () => {
    const config = { key: 'try', limit: 1, limitTimeout: 30 }
    const lease = await limiter.tryAcquire(config)
    expect(lease.slot).toBe(1)
    expect(await limiter.tryAcquire(config)).toBeNull()
    await lease.release()
  })

  test('withLimit gives what the work gives, passes the lease, and releases whatever happens', async () => {
    const config = { key: 'with', limit: 1 }
    expect(await limiter.withLimit(config, async (lease) => [lease.key, lease.slot])).toEqual(['with', 1])
    expect(await limiter.withLimit(config, () => 'not async')).toBe('not async')
    const own = new Error('of the work')
    const throwing = () => {
      throw own
    }
    expect(await rejection(limiter.withLimit(config, throwing))).toBe(own)
    expect(await rejection(limiter.withLimit(config, () => Promise.reject(own)))).toBe(own)
    expect((await limiter.status('with')).held).toBe(0)
  })

  test('wrap keeps this, arguments and name, and the key may depend on them', async () => {
    const customer = {
      name: 'acme',
      render: limiter.wrap(
        function (page) {
          return { key: `render:${this.name}:${page}`, limit: 1 }
        },
        async function render(page, ...more) {
          const { held } = await limiter.status(`render:${this.name}:${page}`)
          return [this.name, page, more, held]
        },
      ),
    }
    expect(customer.render.name).toBe('render')
    expect(await customer.render(1, 2, 3)).toEqual(['acme', 1, [2, 3], 1])
    const constant = limiter.wrap({ key: 'constant', limit: 1 }, (a) => a)
    expect(await Promise.all([constant(1), constant(2)])).toEqual([1, 2])
  })

  test('a lease is disposed of by await using', async () => {
    const lease = await limiter.acquire({ key: 'using', limit: 1 })
    await lease[Symbol.asyncDispose]()
    expect(await limiter.tryAcquire({ key: 'using', limit: 1 }).then((next) => next.release())).toBe(true)
  })

  test('stats counts what was granted, how long it was waited for and how long it was held', async () => {
    const before = await limiter.stats()
    const config = { key: 'stats', limit: 1 }
    const held = await limiter.acquire(config)
    const asked = limiter.acquire(config)
    await until(async () => (await limiter.stats()).waiting === 1, 'one waits')
    await sleep(20)
    await held.release()
    await (await asked).release()
    const { grantedAtOnce, grantedAfterWaiting, waits, holds } = await limiter.stats()
    expect([grantedAtOnce - before.grantedAtOnce, grantedAfterWaiting - before.grantedAfterWaiting]).toEqual([1, 1])
    for (const [now, earlier] of [
      [waits, before.waits],
      [holds, before.holds],
    ]) {
      expect(now.count - earlier.count).toBe(2)
      expect(now.sum - earlier.sum).toBeGreaterThan(0.01)
      const quick = (histogram) => histogram.buckets.find(({ le }) => le === 0.01).count
      expect(quick(now) - quick(earlier)).toBeLessThan(2)
      expect(now.buckets.at(-1)).toEqual({ le: 5000, count: now.count })
    }
  })
})
