// What becomes of requests while Redis can't be reached, and that "full" and "not available" are never confused.
import { ConcurrencyLimitExceededError, Limiter, UnavailableError } from 'concurrency-limit'
import { afterEach, expect, test } from 'vitest'
import { rejection, until } from './helpers.mjs'
import { freePort, startRedis } from './programs.mjs'

let limiter
let server
afterEach(async () => {
  await limiter?.close()
  await server?.stop()
  server = undefined
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
