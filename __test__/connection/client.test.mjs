// Clients that users bring: the same limiter over somebody else's connection, which it neither closes nor depends on
// for more than it must.
import { Limiter } from 'concurrency-limit'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bring, KINDS } from '../support/clients.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { forgetLibrary, redis, rejection, scriptCalls, until } from '../support/helpers.mjs'

const server = useRedis()

const connections = async (port, what) => {
  const list = await redis(port, 'CLIENT', 'LIST')
  return list.split('\n').filter((line) => what.test(line)).length
}
const subscribers = (port) => connections(port, / sub=[1-9]/)

describe.each(KINDS)('%s', (kind) => {
  let brought
  let limiter
  beforeEach(async () => {
    brought = await bring(kind, server)
    limiter = new Limiter({ client: brought.client })
  })
  afterEach(async () => {
    await limiter.close()
    brought.end()
  })

  const waiting = (key, count) => until(async () => (await limiter.status(key)).waiting === count, `${count} wait`)

  test('leases are acquired, shown, tried for and given back', async () => {
    const lease = await limiter.acquire({ key: 'plain', limit: 2, label: 'a' })
    const heavy = await limiter.acquire({ key: 'plain', limit: 2, limitTimeout: 0 })
    expect([lease.slot, heavy.slot]).toEqual([1, 2])
    expect(await limiter.tryAcquire({ key: 'plain', limit: 2 })).toBe(null)
    const { held, holders } = await limiter.status('plain')
    expect([held, holders[0].label, holders[0].leaseId]).toEqual([2, 'a', lease.leaseId])
    expect(await lease.release()).toBe(true)
    expect(await limiter.release({ key: 'plain', leaseId: heavy.leaseId })).toBe(true)
    expect(await heavy.release()).toBe(false)
    expect(await limiter.clean('plain')).toBe(0)
    expect((await limiter.status('plain')).held).toBe(0)
  })

  test('slots are kept, and go to whoever else asks', async () => {
    const other = new Limiter(server.url)
    const terms = { key: 'kept', limit: 1, limitKeep: 10 }
    await until(async () => {
      await limiter.withLimit(terms, () => {})
      return (await limiter.stats()).kept.reused > 5
    }, 'it is kept')
    expect(await limiter.status('kept')).toMatchObject({ held: 0 })
    const lease = await other.acquire({ key: 'kept', limit: 1, limitTimeout: 5 })
    expect((await limiter.stats()).kept).toMatchObject({ now: 0, recalled: 1 })
    expect(await lease.release()).toBe(true)
    await other.close()
  })

  test('keys, labels and names of any letters come back as they were', async () => {
    const key = '}%{ é😀\0\r\n"'
    const [label, holder] = ['l\0é\r\n😀', 'h\r\n\0"ü']
    const lease = await limiter.acquire({ key, limit: 1, label, holder })
    const { holders } = await limiter.status(key)
    expect(holders).toMatchObject([{ label, holder, leaseId: lease.leaseId }])
    expect(await collect(limiter.keys('*😀*'))).toEqual([key])
    expect(await limiter.release({ key, holder })).toBe(true)
  })

  test('all keys are listed, over several pages', async () => {
    const names = Array.from({ length: 1200 }, (_, i) => `page ${i}`)
    await Promise.all(names.map((key) => limiter.withLimit({ key, limit: 1 }, () => {})))
    expect(new Set(await collect(limiter.keys('page *')))).toEqual(new Set(names))
  })

  test('a renewed lease outlives its length', async () => {
    const lease = await limiter.acquire({ key: 'renewed', limit: 1, limitExpire: 2 })
    const before = await scriptCalls(server.port)
    await until(async () => (await scriptCalls(server.port)) >= before + 4, 'four renewals, one each third of it')
    expect([lease.lost, await lease.release()]).toEqual([false, true])
  })

  test('waiters are served in order, and by push: nobody polls', async () => {
    const terms = { key: 'order', limit: 1, limitInterval: 0.01 }
    const first = await limiter.acquire(terms)
    const served = []
    const passes = []
    for (let i = 0; i < 20; i++) {
      passes.push(limiter.withLimit(terms, () => served.push(i)))
      await waiting('order', i + 1)
    }
    expect(await subscribers(server.port)).toBe(1)
    const before = await scriptCalls(server.port)
    await redis(server.port, 'BLPOP', 'nobody pushes here', 2)
    // Looks every limitInterval would be two hundred.
    expect((await scriptCalls(server.port)) - before).toBeLessThan(10)
    await first.release()
    await Promise.all(passes)
    expect(served).toEqual(served.map((_, i) => i))
  })

  test('a slot that another process frees is handed over by push', async () => {
    const other = new Limiter(server.url)
    const terms = { key: 'push', limit: 1, limitInterval: 30 }
    const times = []
    for (let i = 0; i < 5; i++) {
      const held = await other.acquire(terms)
      const next = limiter.acquire(terms)
      await waiting('push', 1)
      const at = performance.now()
      await held.release()
      const lease = await next
      times.push(performance.now() - at)
      await lease.release()
    }
    await other.close()
    // The safety look comes about once a second: it can't make the median this small.
    expect(times.sort((a, b) => a - b)[2]).toBeLessThan(300)
    expect((await limiter.stats()).handedOff).toBeGreaterThan(2)
  })

  test('time-outs and aborts leave the line', async () => {
    const lease = await limiter.acquire({ key: 'leave', limit: 1 })
    const late = await rejection(limiter.acquire({ key: 'leave', limit: 1, limitTimeout: 0.05 }))
    expect(late.code).toBe('ERR_LIMIT_EXCEEDED')
    const controller = new AbortController()
    const aborted = rejection(limiter.acquire({ key: 'leave', limit: 1, signal: controller.signal }))
    await waiting('leave', 1)
    controller.abort(new Error('enough'))
    expect((await aborted).message).toBe('enough')
    await waiting('leave', 0)
    await lease.release()
  })

  test('close gives everything back, ends the subscription and leaves the client to its owner', async () => {
    const witness = new Limiter(server.url)
    await limiter.acquire({ key: 'closed', limit: 1 })
    expect(await subscribers(server.port)).toBeGreaterThan(0)
    await limiter.close()
    expect((await witness.status('closed')).held).toBe(0)
    await witness.close()
    await until(async () => (await subscribers(server.port)) === 0, 'no subscription is left')
    expect(await brought.ask('PING')).toBe('PONG')
  })

  test('two limiters over one client share its session and its subscription', async () => {
    const twin = new Limiter({ client: brought.client })
    const [one, two] = await Promise.all([limiter, twin].map((each) => each.acquire({ key: 'twins', limit: 2 })))
    expect(one.leaseId.split('-')[0]).toBe(two.leaseId.split('-')[0])
    expect(await subscribers(server.port)).toBe(1)
    await twin.close()
    expect([one.lost, two.lost]).toEqual([false, true])
    const again = new Limiter({ client: brought.client })
    await again.close()
    expect(await one.release()).toBe(true)
  })

  test('a library that the server has forgotten is loaded again', async () => {
    await limiter.withLimit({ key: 'forgotten', limit: 1 }, () => {})
    await forgetLibrary(server.port)
    await limiter.withLimit({ key: 'forgotten', limit: 1 }, () => {})
  })

  test('when the subscription dies alone, it is made anew and waiters keep their place', async () => {
    const reconnects = []
    limiter.on('reconnect', () => reconnects.push(1))
    const lease = await limiter.acquire({ key: 'deaf', limit: 1 })
    const next = limiter.acquire({ key: 'deaf', limit: 1, limitInterval: 30 })
    await waiting('deaf', 1)
    await redis(server.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => reconnects.length > 0, 'a new link')
    expect(await subscribers(server.port)).toBe(1)
    expect(lease.lost).toBe(false)
    await lease.release()
    await (await next).release()
  })
})

async function collect(iterator) {
  const all = []
  for await (const item of iterator) all.push(item)
  return all
}
