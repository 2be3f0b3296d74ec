// Each refusal is a class of its own, carries what one needs to act, and names the caller in its stack.
import { createServer } from 'node:net'
import { hostname } from 'node:os'
import {
  ConcurrencyLimitError,
  ConcurrencyLimitExceededError,
  Limiter,
  QueueFullError,
  UnavailableError,
} from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Holders } from '../../lib/holders.js'
import { useRedis } from '../support/fixtures.mjs'
import { rejection, until } from '../support/helpers.mjs'

const server = useRedis()
let limiter
beforeAll(() => {
  limiter = new Limiter(server.url)
})
afterAll(() => limiter?.close())

test('a full limit tells key, limit, limitTimeout, waited, held, waiting and retryAfter', async () => {
  const lease = await limiter.acquire({ key: 'full', limit: 1, limitExpire: 30 })
  const patient = limiter.acquire({ key: 'full', limit: 1 })
  await until(async () => (await limiter.status('full')).waiting === 1, 'one waits')
  const error = await rejection(limiter.acquire({ key: 'full', limit: 1, limitTimeout: 0.2 }))
  expect(error).toBeInstanceOf(ConcurrencyLimitExceededError)
  expect(error).toBeInstanceOf(ConcurrencyLimitError)
  expect(error).toMatchObject({ name: 'ConcurrencyLimitExceededError', code: 'ERR_LIMIT_EXCEEDED' })
  expect(error).toMatchObject({ key: 'full', limit: 1, limitTimeout: 0.2, held: 1, waiting: 1 })
  expect(error.waited).toBeGreaterThanOrEqual(0.2)
  expect(error.waited).toBeLessThan(2)
  expect(error.retryAfter).toBeGreaterThan(0)
  expect(error.retryAfter).toBeLessThanOrEqual(30)
  await lease.release()
  await (await patient).release()
})

describe('a full limit tells who holds', () => {
  const refused = (key, limit, more) => rejection(limiter.acquire({ key, limit, limitTimeout: 0, ...more }))
  const calls = async () => (await limiter.stats()).calls

  test('longest: three of them, in the message and for programs', async () => {
    const leases = []
    for (const more of [{ label: 'first.csv' }, { holder: 'named' }, {}, { label: 'fourth' }]) {
      leases.push(await limiter.acquire({ key: 'who', limit: 4, ...more }))
    }
    const error = await refused('who', 4)
    const { holders } = await limiter.status('who')
    expect(error.holders.map(({ slots, label }) => [...slots, label])).toEqual([
      [1, 'first.csv'],
      [2, null],
      [3, null],
    ])
    for (const told of error.holders) {
      const { endsIn, heldFor, ...rest } = holders.find(({ leaseId }) => leaseId === told.leaseId)
      expect(told).toMatchObject(rest)
      expect(told.endsIn).toBeGreaterThanOrEqual(endsIn)
      expect(told.heldFor).toBeLessThanOrEqual(heldFor)
    }
    const names = ["'first.csv'", "'named'", `'${holders[2].program}'`]
    const here = `${hostname()}:${process.pid}`
    const said = names.map((name, i) => `${name} (${here}) in slot ${i + 1} for ${error.holders[i].heldFor} s`)
    expect(error.message).toContain(`; held by ${said.join(', ')}`)
    expect(error.message).not.toContain('fourth')
    expect(structuredClone(error.toJSON()).holders).toEqual(error.holders)
    await Promise.all(leases.map((lease) => lease.release()))
  })

  test('by one read a second, however many are refused; tryAcquire reads nothing', async () => {
    const lease = await limiter.acquire({ key: 'flood', limit: 1 })
    const began = performance.now()
    const before = await calls()
    const errors = []
    for (let i = 0; i < 100; i++) errors.push(await refused('flood', 1))
    const reads = (await calls()) - before - 100
    expect(reads).toBeGreaterThan(0)
    expect(reads).toBeLessThanOrEqual(1 + (performance.now() - began) / 1000)
    for (const { holders } of errors) expect(holders).toHaveLength(1)
    const own = new Limiter(server.url) // for which nothing has been read yet
    const then = await calls()
    for (let i = 0; i < 100; i++) expect(await own.tryAcquire({ key: 'flood', limit: 1 })).toBe(null)
    expect((await calls()) - then).toBe(100)
    await own.close()
    await lease.release()
  })

  test('but not where many do, and not by more than 20 reads a second over all keys', async () => {
    const crowd = await limiter.acquire({ key: 'crowd', limit: 101, weight: 101 })
    const before = await calls()
    expect((await refused('crowd', 101)).holders).toBe(undefined)
    expect((await calls()) - before).toBe(1)
    await crowd.release()
    const own = new Limiter(server.url)
    const keys = Array.from({ length: 40 }, (_, i) => `many ${i}`)
    const leases = await Promise.all(keys.map((key) => own.acquire({ key, limit: 1 })))
    const errors = await Promise.all(keys.map((key) => rejection(own.acquire({ key, limit: 1, limitTimeout: 0 }))))
    expect(errors.filter(({ holders }) => holders !== undefined).length).toBeLessThanOrEqual(20)
    for (const error of errors) expect(error).toBeInstanceOf(ConcurrencyLimitExceededError)
    await Promise.all(leases.map((lease) => lease.release()))
    await own.close()
  })

  test('within 50 ms, or not at all', async () => {
    const silent = new Holders(
      () => new Promise(() => {}),
      () => performance.now(),
    )
    const began = performance.now()
    expect(await silent.of('k', 1, 0)).toBe(undefined)
    expect(performance.now() - began).toBeLessThan(500)
    const failing = new Holders(
      () => Promise.reject(new Error('away')),
      () => performance.now(),
    )
    expect(await failing.of('k', 1, 0)).toBe(undefined)
  })
})

test('a request that waits for long is a warning that names who holds, once a minute for a key', async () => {
  const mine = new Limiter(server.url, { clientName: 'patient' })
  const warnings = []
  mine.on('warning', ({ message }) => warnings.push(message))
  const lease = await mine.acquire({ key: 'long', limit: 1, label: 'nightly import' })
  const queued = [1, 2].map(() => mine.acquire({ key: 'long', limit: 1, limitTimeout: 60 }))
  const elsewhere = await mine.acquire({ key: 'short', limit: 1 })
  await until(() => warnings.length > 0, 'it is warned of', 25_000)
  expect(warnings[0]).toMatch(
    /^a request for 'long' has waited for \d\d s; held by 'nightly import' \(\S+:\d+\) in slot 1 for \d\d(\.\d+)? s$/,
  )
  await lease.release()
  for (const waiting of queued) await (await waiting).release()
  await elsewhere.release()
  await mine.close()
  expect(warnings).toHaveLength(1)
})

test('a full queue tells key and maxWaiting', async () => {
  const lease = await limiter.acquire({ key: 'queue', limit: 1 })
  const patient = limiter.acquire({ key: 'queue', limit: 1, maxWaiting: 1 })
  await until(async () => (await limiter.status('queue')).waiting === 1, 'one waits')
  const error = await rejection(limiter.acquire({ key: 'queue', limit: 1, maxWaiting: 1 }))
  expect(error).toBeInstanceOf(QueueFullError)
  expect(error).toMatchObject({ code: 'ERR_QUEUE_FULL', key: 'queue', maxWaiting: 1 })
  await lease.release()
  await (await patient).release()
})

test('the stack of an error shows who asked', async () => {
  const lease = await limiter.acquire({ key: 'stack', limit: 1 })
  async function aFunctionOfTheUser() {
    return await limiter.acquire({ key: 'stack', limit: 1, limitTimeout: 0 })
  }
  const error = await rejection(aFunctionOfTheUser())
  expect(error.stack).toContain('aFunctionOfTheUser')
  expect(error.stack.split('\n')[1]).toContain('acquire')
  await lease.release()
})

describe('a Redis that is not reachable', () => {
  async function expectUnavailable(port, limitTimeout, withinMs) {
    const options = { username: 'app', password: 'hunter2', connectTimeout: 0.3, commandTimeout: 0.3 }
    const lonely = new Limiter(`redis://127.0.0.1:${port}`, options)
    const start = performance.now()
    const error = await rejection(lonely.acquire({ key: 'k', limit: 1, limitTimeout }))
    expect(performance.now() - start).toBeLessThan(withinMs)
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.code).toBe('ERR_UNAVAILABLE')
    expect(error.address).toContain(`127.0.0.1:${port}`)
    expect(error.cause).toBeInstanceOf(Error)
    expect(`${error.stack}${error.cause.stack}${JSON.stringify(error)}`).not.toContain('hunter2')
    expect(await rejection(lonely.tryAcquire({ key: 'k', limit: 1 }))).toBeInstanceOf(UnavailableError)
    expect(await rejection(lonely.status('k'))).toBeInstanceOf(UnavailableError)
    await lonely.close()
  }

  const listen = (handler) =>
    new Promise((resolve) => {
      const silent = createServer(handler).listen(0, '127.0.0.1', () => resolve(silent))
    })

  test('because nobody listens there is an UnavailableError with address and cause, in time', async () => {
    const nobody = await listen()
    const { port } = nobody.address()
    await new Promise((resolve) => nobody.close(resolve))
    await expectUnavailable(port, 0.5, 3000)
  })

  test('because it never answers is an UnavailableError too', async () => {
    const sockets = []
    const silent = await listen((socket) => sockets.push(socket.on('error', () => {})))
    await expectUnavailable(silent.address().port, 0.5, 3000)
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => silent.close(resolve))
  })

  test('because the password is wrong is an UnavailableError or a ConfigError that does not tell it', async () => {
    const stranger = new Limiter(server.url, { username: 'nobody', password: 'hunter2' })
    const error = await rejection(stranger.acquire({ key: 'k', limit: 1, limitTimeout: 0.3 }))
    expect(error).toBeInstanceOf(ConcurrencyLimitError)
    expect(['ERR_UNAVAILABLE', 'ERR_CONFIG']).toContain(error.code)
    expect(`${error.stack}${JSON.stringify(error)}`).not.toContain('hunter2')
    await stranger.close()
  })
})
