// A server that refuses: no memory left, or rights that are missing. What can work works, the rest says clearly why
// not.
import { readFileSync } from 'node:fs'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'

let server
let full
beforeAll(async () => {
  ;[server, full] = await Promise.all([startRedis(), startRedis({ args: ['--maxmemory-policy', 'noeviction'] })])
})
afterAll(() => server?.stop())
afterAll(() => full?.stop())

describe('a server out of memory', () => {
  const config = { key: 'k', limit: 2, limitExpire: 0.9 }
  const maxMemory = (bytes) => redis(full.port, 'CONFIG', 'SET', 'maxmemory', bytes)

  test('renews leases, takes them back and hands them on, and refuses new ones without leaving anything', async () => {
    const limiter = new Limiter(full.url)
    const lease = await limiter.acquire(config)
    const other = await limiter.acquire(config)
    const waiter = limiter.acquire(config)
    await until(async () => (await limiter.status('k')).waiting === 1, 'it waits')
    await maxMemory(1)
    const refusedAt = performance.now()
    for (const ask of [
      () => limiter.acquire({ ...config, key: 'new' }),
      () => limiter.tryAcquire({ ...config, key: 'new' }),
    ]) {
      const error = await rejection(ask())
      expect(error.code).toBe('ERR_UNAVAILABLE')
      expect(error.message).toMatch(/memory/i)
    }
    expect(performance.now() - refusedAt).toBeLessThan(1000)
    await until(() => performance.now() - refusedAt > 2000, 'two leases have passed')
    expect([lease.lost, other.lost]).toEqual([false, false])
    expect(await other.release()).toBe(true)
    const handedOn = await waiter
    expect(handedOn.slot).toBe(other.slot)
    expect(await handedOn.release()).toBe(true)
    expect(await redis(full.port, 'EXISTS', 'cl:{new}')).toBe(0)
    await maxMemory(0)
    const next = await limiter.acquire(config)
    expect(next.slot).toBe(other.slot)
    expect(await next.release()).toBe(true)
    expect(await lease.release()).toBe(true)
    expect(await limiter.status('k')).toMatchObject({ held: 0, waiting: 0 })
    await limiter.close()
  })
})

/** The commands of operations.md that make the user it documents, as lists of arguments. */
function documentedRights() {
  const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const [, block] = /```\n(ACL SETUSER[\s\S]*?)```/.exec(page)
  return block.trim().split(/\s+/)
}

async function limiterWith(name, ...changes) {
  const [acl, setUser, , ...rights] = documentedRights()
  await redis(server.port, acl, setUser, name, ...rights, ...changes)
  return new Limiter({ host: '127.0.0.1', port: server.port, username: name, password: 'password' })
}

/** One waits, and gets what the other gives back; everything else that users do, too. */
async function expectAllWorks(name, limiter, boundMs) {
  const admin = new Limiter(server.url)
  const config = { key: name, limit: 1, limitExpire: 2 }
  const first = await admin.acquire(config)
  const waiter = limiter.acquire(config)
  await until(async () => (await admin.status(name)).waiting === 1, 'it waits')
  const releasedAt = performance.now()
  await first.release()
  const lease = await waiter
  expect(performance.now() - releasedAt).toBeLessThan(boundMs)
  await until(() => performance.now() - releasedAt > 4500, 'two leases have passed')
  expect(lease.lost).toBe(false)
  expect(await limiter.status(name)).toMatchObject({ held: 1, waiting: 0 })
  const next = admin.acquire(config)
  await until(async () => (await admin.status(name)).waiting === 1, 'it waits')
  expect(await lease.release()).toBe(true)
  expect(await (await next).release()).toBe(true)
  expect(await limiter.clean(name)).toBe(0)
  const controller = new AbortController()
  const holder = await limiter.acquire(config)
  const aborted = limiter.acquire({ ...config, signal: controller.signal })
  await until(async () => (await limiter.status(name)).waiting === 1, 'it waits')
  controller.abort()
  expect(await rejection(aborted)).toBe(controller.signal.reason)
  expect(await limiter.release({ key: name, leaseId: holder.leaseId })).toBe(true)
  await limiter.close()
  expect(await admin.status(name)).toMatchObject({ held: 0, waiting: 0 })
  await admin.close()
}

describe.concurrent('a user', () => {
  test('with the documented rights and no others can do everything', async () => {
    const limiter = await limiterWith('documented')
    const unavailable = []
    limiter.on('pushUnavailable', (event) => unavailable.push(event))
    const lease = await limiter.acquire({ key: 'mine', limit: 1 })
    const keys = []
    for await (const key of limiter.keys('mine')) keys.push(key)
    expect(keys).toEqual(['mine'])
    await lease.release()
    await expectAllWorks('documented', limiter, 100)
    expect(unavailable).toEqual([])
  })

  test('without channels waits by looking, and hears that it does', async () => {
    const limiter = await limiterWith('channels', 'resetchannels')
    const unavailable = new Promise((resolve) => limiter.once('pushUnavailable', resolve))
    await expectAllWorks('channels', limiter, 400)
    await unavailable
  })

  test('without the right to publish: what it gives back reaches others by their looks', async () => {
    await expectAllWorks('publish', await limiterWith('publish', '-publish'), 400)
  })

  test('without INFO works at once', async () => {
    await expectAllWorks('info', await limiterWith('info', '-info'), 100)
  })

  test('without rights to the keys hears so', async () => {
    const limiter = await limiterWith('keys', 'resetkeys')
    const error = await rejection(limiter.acquire({ key: 'forbidden', limit: 1, limitTimeout: 1 }))
    expect(error.code).toBe('ERR_UNAVAILABLE')
    expect(error.message).toMatch(/NOPERM|permission/i)
    await limiter.close()
  })
})
