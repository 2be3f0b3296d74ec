// A lease that is lost says so: `lost`, the signal, the event, release; never an unhandled rejection. And a lease isn't
// lost because the event loop was blocked.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { LeaseLostError, Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rejection, startProcess, startRedis, until } from '../support/helpers.mjs'

let server
let limiter
let other
let events
beforeAll(async () => {
  server = await startRedis()
  limiter = new Limiter(server.url)
  other = new Limiter({ url: server.url, clientName: 'other' })
  events = []
  limiter.on('lost', (event) => events.push(event))
})
afterAll(() => server?.stop())
afterAll(async () => {
  await limiter?.close()
  await other?.close()
})

const eventsOf = (key) => events.filter((event) => event.key === key)

async function expectLost(lease) {
  const { signal } = lease
  await until(() => signal.aborted, 'the signal is aborted')
  expect(signal.reason).toBeInstanceOf(LeaseLostError)
  expect(signal.reason).toMatchObject({ code: 'ERR_LEASE_LOST', key: lease.key, slot: lease.slot })
  expect(signal.reason.why).toMatch(/\w/)
  expect(lease.lost).toBe(true)
  expect(lease.signal).toBe(signal)
  expect(await lease.release()).toBe(false)
  expect(lease.lost).toBe(true)
  const [event] = await until(() => eventsOf(lease.key).length > 0 && eventsOf(lease.key), 'the event')
  expect(event).toMatchObject({ key: lease.key, leaseId: lease.leaseId, slot: lease.slot })
  expect(event.error).toBe(signal.reason)
  expect(event.why).toBe(signal.reason.why)
}

describe('a lease is lost', () => {
  test('at its end when it is not renewed', async () => {
    await expectLost(await limiter.acquire({ key: 'end', limit: 1, limitExpire: 0.3, renew: false }))
  })

  test('when limitHold is over, however healthy it is', async () => {
    await expectLost(await limiter.acquire({ key: 'hold', limit: 1, limitExpire: 1, limitHold: 0.3 }))
  })

  test('when the event loop stands still for longer than stallTimeout', async () => {
    const watched = new Limiter({ url: server.url, stallTimeout: 0.3 })
    const lease = await watched.acquire({ key: 'stall', limit: 1, limitExpire: 0.6 })
    const { signal } = lease
    await until(async () => (await watched.stats()).calls >= 6, 'renewals while the loop turns')
    expect(lease.lost).toBe(false)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
    expect(lease.lost).toBe(true)
    await until(() => signal.aborted, 'the signal is aborted')
    await watched.close()
  })

  test('when another process releases it by its id', async () => {
    const lease = await limiter.acquire({ key: 'forced', limit: 1, limitExpire: 0.9 })
    expect(await other.release({ key: 'forced', leaseId: lease.leaseId })).toBe(true)
    await expectLost(lease)
  })

  test('when its holder name is taken over: same slot, higher token', async () => {
    const lease = await limiter.acquire({ key: 'name', limit: 2, limitExpire: 0.9, holder: 'order-17' })
    const successor = await other.acquire({ key: 'name', limit: 2, holder: 'order-17' })
    expect(successor.slot).toBe(lease.slot)
    expect(successor.fencingToken).toBeGreaterThan(lease.fencingToken)
    await expectLost(lease)
    expect((await other.status('name')).held).toBe(1)
    expect(await successor.release()).toBe(true)
  })

  test('is known by the getter before the loop has turned', async () => {
    const lease = await limiter.acquire({ key: 'getter', limit: 1, limitExpire: 0.2, renew: false })
    const end = performance.now() + 300
    while (performance.now() < end);
    expect(lease.lost).toBe(true)
    expect(lease.signal.aborted).toBe(true)
    await expectLost(lease)
  })

  test('is told once, to the event and to the diagnostics channel', async () => {
    const messages = []
    const listener = (message) => messages.push(message)
    subscribe('concurrency-limit:lost', listener)
    const lease = await limiter.acquire({ key: 'once', limit: 1, limitExpire: 0.2, renew: false })
    await expectLost(lease)
    await other.acquire({ key: 'once', limit: 1 }).then((next) => next.release())
    unsubscribe('concurrency-limit:lost', listener)
    expect(eventsOf('once')).toHaveLength(1)
    expect(messages).toHaveLength(1)
    expect(messages[0]).toMatchObject({ key: 'once', leaseId: lease.leaseId })
    expect(messages[0].limiter).toBe(limiter)
  })

  test('is judged before Redis gives the slot to another', async () => {
    const lease = await limiter.acquire({ key: 'judged', limit: 1, limitExpire: 0.5, renew: false })
    const next = await other.acquire({ key: 'judged', limit: 1 })
    expect(lease.lost).toBe(true)
    await next.release()
  })
})

describe('a lease is not lost', () => {
  test('when it was released', async () => {
    const lease = await limiter.acquire({ key: 'released', limit: 1, limitExpire: 0.2 })
    const { signal } = lease
    const first = lease.release()
    expect(lease.release()).toBe(first)
    expect(await first).toBe(true)
    await limiter.acquire({ key: 'clock', limit: 1, limitExpire: 0.3, renew: false }).then(expectLost)
    expect(lease.lost).toBe(false)
    expect(signal.aborted).toBe(false)
    expect(eventsOf('released')).toHaveLength(0)
  })

  test('while it is renewed, for many times its length', async () => {
    const lease = await limiter.acquire({ key: 'renewed', limit: 1, limitExpire: 0.3 })
    const { signal } = lease
    const refusal = await other.acquire({ key: 'renewed', limit: 1, limitTimeout: 1.5 }).catch((error) => error)
    expect(refusal.code).toBe('ERR_LIMIT_EXCEEDED')
    expect(signal.aborted).toBe(false)
    expect(lease.lost).toBe(false)
    expect(await lease.release()).toBe(true)
  })

  test('while the event loop of its process is blocked for three times its length', async () => {
    const blocked = startProcess({ url: server.url })
    const { leaseId } = await blocked.call('acquire', { key: 'blocked', limit: 1, limitExpire: 0.6 })
    const block = blocked.call('block', 1800)
    const refusal = await other.acquire({ key: 'blocked', limit: 1, limitTimeout: 1.6 }).catch((error) => error)
    expect(refusal.code).toBe('ERR_LIMIT_EXCEEDED')
    await block
    expect(await blocked.call('isLost', leaseId)).toBe(false)
    expect((await blocked.call('release', leaseId)).released).toBe(true)
    await blocked.stop()
  })
})

describe('a lease that is lost under withLimit', () => {
  const brief = (more) => ({ key: 'brief', limit: 5, limitExpire: 0.2, renew: false, ...more })
  const outlive = async (lease) => {
    await until(() => lease.lost, 'the lease is lost')
    return 'done'
  }

  test('rejects with rejectOnLoss although its work resolved, by wrap too, and not without', async () => {
    expect(await limiter.withLimit(brief(), outlive)).toBe('done')
    expect(await limiter.withLimit(brief({ rejectOnLoss: false }), outlive)).toBe('done')
    const lost = await rejection(limiter.withLimit(brief({ rejectOnLoss: true }), outlive))
    expect(lost).toBeInstanceOf(LeaseLostError)
    expect(lost).toMatchObject({ code: 'ERR_LEASE_LOST', key: 'brief' })
    const wrapped = limiter.wrap(brief({ rejectOnLoss: true, key: 'brief too' }), async () => {
      await until(async () => (await limiter.status('brief too')).held === 0, 'the lease has ended')
    })
    expect((await rejection(wrapped())).code).toBe('ERR_LEASE_LOST')
  })

  test('with rejectOnLoss keeps the error of its work, and its value where it is not lost', async () => {
    const fails = async (lease) => {
      await outlive(lease)
      throw new Error('of the work')
    }
    expect((await rejection(limiter.withLimit(brief({ rejectOnLoss: true }), fails))).message).toBe('of the work')
    expect(await limiter.withLimit(brief({ rejectOnLoss: true }), () => 'in time')).toBe('in time')
    const released = limiter.withLimit(brief({ rejectOnLoss: true }), async (lease) => lease.release())
    expect(await released).toBe(true)
  })
})

test('a process that was stopped for longer than its lease knows it in its first turn', async () => {
  const frozen = startProcess({ url: server.url })
  const { leaseId } = await frozen.call('acquire', { key: 'frozen', limit: 1, limitExpire: 0.5 })
  const seen = frozen.call('watchStop', leaseId, 400)
  await frozen.call('isLost', leaseId)
  frozen.kill('SIGSTOP')
  const next = await other.acquire({ key: 'frozen', limit: 1 })
  frozen.kill('SIGCONT')
  expect(await seen).toEqual({ aborted: true, code: 'ERR_LEASE_LOST' })
  expect((await frozen.call('release', leaseId)).released).toBe(false)
  expect(await frozen.call('lostEvents')).toHaveLength(1)
  expect(next.lost).toBe(false)
  await next.release()
  await frozen.stop()
})
