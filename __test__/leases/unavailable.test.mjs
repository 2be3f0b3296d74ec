// What becomes of requests while Redis can't be reached, and that "full" and "not available" are never confused.
import { ConcurrencyLimitExceededError, Limiter, UnavailableError } from 'concurrency-limit'
import { afterEach, expect, test } from 'vitest'
import { redis, rejection, until, watchPauses } from '../support/helpers.mjs'
import { startHole } from '../support/hole.mjs'
import { freePort, startRedis } from '../support/programs.mjs'

let limiter
let server
let hole
afterEach(async () => {
  await limiter?.close()
  await server?.stop()
  await hole?.close()
  server = hole = undefined
})

const nowhere = async () => `redis://127.0.0.1:${await freePort()}`
const quick = { key: 'k', limit: 1, limitTimeout: 0.2 }

test('by default they are rejected as not available, with the address and without the password', async () => {
  const port = await freePort()
  limiter = new Limiter(`redis://user:secret@127.0.0.1:${port}`)
  for (const call of [() => limiter.acquire(quick), () => limiter.tryAcquire(quick), () => limiter.status('k')]) {
    const error = await rejection(call())
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.message).toContain(`127.0.0.1:${port}`)
    expect(error.message).not.toContain('secret')
  }
})

test("'allow' lets everyone in, warns once, and says so of each lease", async () => {
  limiter = new Limiter({ url: await nowhere(), onUnavailable: 'allow' })
  const warnings = []
  limiter.on('warning', (warning) => warnings.push(warning))
  const leases = await Promise.all([1, 2, 3].map(() => limiter.acquire(quick)))
  expect(leases.map((lease) => lease.standIn)).toEqual([true, true, true])
  expect(leases.map((lease) => lease.lost)).toEqual([false, false, false])
  expect(await Promise.all(leases.map((lease) => lease.release()))).toEqual([true, true, true])
  await until(() => warnings.length > 0, 'the warning')
  expect(warnings).toHaveLength(1)
})

test("'local' limits this process, in order, and full is full", async () => {
  limiter = new Limiter({ url: await nowhere(), onUnavailable: 'local' })
  const lease = await limiter.acquire(quick)
  expect(lease).toMatchObject({ slot: 1, standIn: true })
  expect(await limiter.tryAcquire(quick)).toBe(null)
  expect(await rejection(limiter.acquire(quick))).toBeInstanceOf(ConcurrencyLimitExceededError)
  const next = limiter.acquire({ ...quick, limitTimeout: 10 })
  expect(await lease.release()).toBe(true)
  expect((await next).slot).toBe(1)
})

test('when its time is over requests are rejected again, and when Redis is back it is asked again', async () => {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  limiter = new Limiter({ url, onUnavailable: 'local', unavailableTimeout: 0.5, settle: 0 })
  expect((await limiter.acquire(quick)).standIn).toBe(true)
  const outcome = (key) => limiter.withLimit({ ...quick, key }, ({ standIn }) => standIn).catch(({ code }) => code)
  await until(async () => (await outcome('rejected')) === 'ERR_UNAVAILABLE', 'rejected again')
  server = await startRedis({ port })
  await until(async () => (await outcome('back')) === false, 'granted by Redis')
})

test('requests that are aborted at any moment leave no slot of the fallback taken', async () => {
  limiter = new Limiter({ url: await nowhere(), onUnavailable: 'local' })
  const config = { key: 'k', limit: 3, limitTimeout: 5 }
  const later = [(go) => go(), queueMicrotask, process.nextTick, setImmediate, (go) => setTimeout(go, 1)]
  for (let round = 0; round < 40; round++) {
    const asked = [1, 2, 3].map((number) => {
      const controller = new AbortController()
      const outcome = limiter.acquire({ ...config, signal: controller.signal }).then(
        (lease) => lease.release(),
        (error) => expect(error).toMatchObject({ name: 'AbortError' }),
      )
      later[(round + number) % later.length](() => controller.abort())
      return outcome
    })
    await Promise.all(asked)
  }
  const leases = await Promise.all([1, 2, 3].map(() => limiter.acquire({ ...config, limitTimeout: 1 })))
  expect(leases.map(({ slot }) => slot).sort()).toEqual([1, 2, 3])
  for (const lease of leases) expect(await lease.release()).toBe(true)
})

test("'local' counts what this process has from Redis, with its slots", async () => {
  server = await startRedis()
  limiter = new Limiter({ url: server.url, onUnavailable: 'local' })
  const leases = await Promise.all([1, 2].map(() => limiter.acquire({ ...quick, limit: 3 })))
  expect(await leases[0].release()).toBe(true)
  await server.stop()
  server = undefined
  const third = await limiter.acquire({ ...quick, limit: 3, limitTimeout: 5 })
  const fourth = await limiter.acquire({ ...quick, limit: 3, limitTimeout: 5 })
  expect([third.slot, fourth.slot, third.standIn, fourth.standIn]).toEqual([1, 3, true, true])
  expect(await limiter.tryAcquire({ ...quick, limit: 3 })).toBe(null)
  leases[1].release()
  expect(await limiter.acquire({ ...quick, limit: 3, limitTimeout: 5 })).toMatchObject({ slot: 2, standIn: true })
})

test('the time of an outage counts from that outage, though nobody used the connection in between', async () => {
  const port = await freePort()
  server = await startRedis({ port })
  const url = `redis://127.0.0.1:${port}`
  limiter = new Limiter({ url, onUnavailable: 'allow', unavailableTimeout: 0.5, settle: 0 })
  await (await limiter.acquire(quick)).release()
  const letIn = () =>
    limiter.withLimit({ ...quick, limitTimeout: 5 }, ({ standIn }) => standIn).catch(({ code }) => code)
  await server.stop()
  await until(async () => (await letIn()) === true, 'let in')
  await until(async () => (await letIn()) === 'ERR_UNAVAILABLE', 'its time is over')
  const back = new Promise((resolve) => limiter.once('reconnect', resolve))
  server = await startRedis({ port, age: 0 })
  await back
  await server.stop()
  server = undefined
  await until(async () => (await letIn()) === true, 'let in again')
})

test('a Redis that answers and refuses is no outage: nobody is let in', async () => {
  server = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] })
  await redis(server.port, 'ACL', 'SETUSER', 'clerk', 'on', '>word', '~*', '&*', '+@all')
  limiter = new Limiter({ url: `redis://clerk:word@127.0.0.1:${server.port}`, onUnavailable: 'allow' })
  await (await limiter.acquire(quick)).release()
  await redis(server.port, 'CONFIG', 'SET', 'maxmemory', 1)
  expect((await rejection(limiter.acquire(quick))).message).toMatch(/memory/i)
  await redis(server.port, 'CONFIG', 'SET', 'maxmemory', 0)
  await redis(server.port, 'ACL', 'SETUSER', 'clerk', '-@scripting')
  expect((await rejection(limiter.acquire(quick))).message).toMatch(/permission/i)
})

test('a server that swallows everything costs no request more than its own time and commandTimeout', async () => {
  hole = await startHole()
  const url = `redis://127.0.0.1:${hole.port}`
  const timed = async (options, config) => {
    const limiter = new Limiter({ url, commandTimeout: 0.5, ...options })
    const pauses = watchPauses()
    const begun = performance.now()
    const outcome = await limiter.acquire({ key: 'k', limit: 1, ...config }).then(
      ({ standIn }) => standIn,
      ({ code }) => code,
    )
    const took = performance.now() - begun - pauses.longest()
    pauses.stop()
    await limiter.close()
    return { outcome, inTime: took < 1000 * ((config.limitTimeout ?? 0) + 0.5) + 150 }
  }
  const unavailable = { outcome: 'ERR_UNAVAILABLE', inTime: true }
  const all = await Promise.all([
    timed({}, { limitTimeout: 0 }),
    timed({}, { limitTimeout: 0.3 }),
    timed({ onUnavailable: 'allow' }, {}),
    timed({ onUnavailable: 'local' }, {}),
  ])
  expect(all).toEqual([unavailable, unavailable, { outcome: true, inTime: true }, { outcome: true, inTime: true }])
})

test("a server that is busy with somebody's script costs a try no more than commandTimeout", async () => {
  server = await startRedis({ args: ['--lua-time-limit', '10'] })
  limiter = new Limiter({ url: server.url, commandTimeout: 0.5 })
  await (await limiter.acquire(quick)).release()
  const busy = redis(server.port, 'EVAL', 'while true do end', 0).catch(() => {})
  await until(
    () =>
      redis(server.port, 'GET', 'x').then(
        () => false,
        ({ message }) => /BUSY/.test(message),
      ),
    'busy',
  )
  const pauses = watchPauses()
  const begun = performance.now()
  const error = await rejection(limiter.tryAcquire(quick))
  expect(performance.now() - begun - pauses.longest()).toBeLessThan(700)
  expect(error).toMatchObject({ code: 'ERR_UNAVAILABLE' })
  expect(error.message).toMatch(/BUSY/)
  pauses.stop()
  await redis(server.port, 'SCRIPT', 'KILL')
  await busy
})
