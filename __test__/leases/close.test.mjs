// close gives everything back, rejects what waits, ends the connection, and is final.
import { ClosedError, LeaseLostError, Limiter } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, rejection, until } from '../support/helpers.mjs'

const server = useRedis()
const witness = useLimiter(server)

const open = (name) => new Limiter(server.url, { clientName: name })
const connections = async (name) => (await redis(server.port, 'CLIENT', 'LIST')).split(`name=${name} `).length - 1

describe('close', () => {
  test('gives back what is held and takes out of the line what waits', async () => {
    const limiter = open('gives')
    const lease = await limiter.acquire({ key: 'gives', limit: 1 })
    const { signal } = lease
    const waiter = rejection(limiter.acquire({ key: 'gives', limit: 1 }))
    await until(async () => (await witness.status('gives')).waiting === 1, 'one waits')
    await limiter.close()
    expect(await waiter).toBeInstanceOf(ClosedError)
    expect(await witness.status('gives')).toMatchObject({ held: 0, waiting: 0 })
    // Work under the lease must hear that it's no longer alone.
    expect(lease.lost).toBe(true)
    expect(signal.reason).toBeInstanceOf(LeaseLostError)
    expect(await lease.release()).toBe(false)
  })

  test('with release: false lets leases run to their ends', async () => {
    const limiter = open('keeps')
    const lease = await limiter.acquire({ key: 'keeps', limit: 1, limitExpire: 0.8 })
    await limiter.close({ release: false })
    expect((await witness.status('keeps')).held).toBe(1)
    expect(lease.lost).toBe(false)
    const next = await witness.acquire({ key: 'keeps', limit: 1 })
    expect(next.waited).toBeGreaterThan(0.1)
    expect(lease.lost).toBe(true)
    await next.release()
  })

  test.each(['granted', 'delivered'])(
    'with release: false gives back what was %s and nobody was told of',
    async (how) => {
      // A busy machine may take longer than a second for what close waits for.
      const limiter = new Limiter(server.url, { clientName: 'untold', commandTimeout: 20 })
      const key = `untold, ${how}`
      const config = { key, limit: 4, limitExpire: 30 }
      const told = await limiter.acquire(config)
      await limiter.acquire({ key: `${key}: brief`, limit: 1, limitExpire: 0.5, renew: false })
      // No answer comes before this thread stands still.
      await redis(server.port, 'CLIENT', 'PAUSE', '300')
      // The event of a loss comes in the turn in which what lies ready is delivered, before those who asked go on.
      const onLoss = new Promise((resolve) => limiter.once('lost', () => resolve(limiter.close({ release: false }))))
      const outcomes = Array.from({ length: 5 }, () => limiter.acquire(config).catch(({ code }) => code))
      await Promise.resolve()
      // They are granted, and one is lost, while this thread stands still.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 900)
      await (how === 'granted' ? limiter.close({ release: false }) : onLoss)
      expect(await Promise.all(outcomes)).toEqual(Array(5).fill('ERR_CLOSED'))
      await until(async () => (await witness.status(key)).held === 1, 'only what was told of is held')
      expect(await witness.status(key)).toMatchObject({ waiting: 0, holders: [{ leaseId: told.leaseId }] })
      expect(await witness.release({ key, leaseId: told.leaseId })).toBe(true)
    },
  )

  test('ends the connection', async () => {
    const limiter = open('ends')
    await limiter.withLimit({ key: 'ends', limit: 1 }, () => {})
    expect(await connections('ends')).toBeGreaterThan(0)
    await limiter.close()
    await until(async () => (await connections('ends')) === 0, 'the connection is gone')
  })

  test('leaves another limiter with the same options alone', async () => {
    const one = open('shared')
    const two = open('shared')
    const lease = await two.acquire({ key: 'shared', limit: 1 })
    await one.withLimit({ key: 'shared too', limit: 1 }, () => {})
    await one.close()
    expect(lease.lost).toBe(false)
    expect((await two.status('shared')).held).toBe(1)
    expect(await lease.release()).toBe(true)
    await two.close()
  })

  test('is idempotent, also before anything was asked', async () => {
    const limiter = open('idempotent')
    const first = limiter.close()
    expect(limiter.close()).toBe(first)
    await first
    await limiter[Symbol.asyncDispose]()
  })

  test('makes every later call reject with ClosedError', async () => {
    const limiter = open('closed')
    const wrapped = limiter.wrap({ key: 'k', limit: 1 }, () => {})
    await limiter.close()
    const config = { key: 'k', limit: 1 }
    const calls = [
      limiter.acquire(config),
      limiter.tryAcquire(config),
      limiter.withLimit(config, () => {}),
      wrapped(),
      limiter.status('k'),
      limiter.clean('k'),
      limiter.release({ key: 'k', holder: 'h' }),
      limiter.stats(),
      limiter.keys().next(),
    ]
    for (const call of calls) {
      const error = await rejection(call)
      expect(error).toBeInstanceOf(ClosedError)
      expect(error.code).toBe('ERR_CLOSED')
    }
  })

  test('called in the same turn as acquire leaves nothing held', async () => {
    const limiter = open('same-turn')
    const outcome = limiter.acquire({ key: 'same turn', limit: 1 }).then(
      () => 'granted',
      (error) => error.code,
    )
    await limiter.close()
    expect(await outcome).toBe('ERR_CLOSED')
    expect((await witness.status('same turn')).held).toBe(0)
  })
})

describe('a connection that breaks', () => {
  test('is told by disconnect and reconnect; a held lease survives, waiters keep their order', async () => {
    const limiter = open('breaks')
    const told = []
    for (const event of ['disconnect', 'reconnect', 'lost']) limiter.on(event, () => told.push(event))
    const lease = await limiter.acquire({ key: 'breaks', limit: 1 })
    const served = []
    const passes = []
    for (const i of [0, 1, 2]) {
      passes.push(limiter.withLimit({ key: 'breaks', limit: 1 }, () => served.push(i)))
      // Others don't see who waits inside the process.
      await until(async () => (await limiter.status('breaks')).waiting === i + 1, 'they wait')
    }
    const list = await redis(server.port, 'CLIENT', 'LIST')
    const [, id] = /^id=(\d+) .*name=breaks /m.exec(list)
    expect(await redis(server.port, 'CLIENT', 'KILL', 'ID', id)).toBe(1)
    await until(() => told.includes('reconnect'), 'it is connected again')
    expect(told).toEqual(['disconnect', 'reconnect'])
    expect(lease.lost).toBe(false)
    expect(await lease.release()).toBe(true)
    await Promise.all(passes)
    expect(served).toEqual([0, 1, 2])
    await limiter.close()
  })
})
