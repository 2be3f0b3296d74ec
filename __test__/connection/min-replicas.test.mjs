// A grant counts only when enough replicas have it.
import { readFileSync } from 'node:fs'
import { Limiter, UnavailableError } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'
import { inStep, startReplica } from '../support/replicas.mjs'

let primary, replica
const limiters = []

beforeAll(async () => {
  primary = await startRedis()
  replica = await startReplica(primary.port)
})

afterEach(async () => {
  wake()
  await Promise.all(limiters.splice(0).map((limiter) => limiter.close()))
})

afterAll(async () => {
  await Promise.all([primary.stop(), replica.stop()])
})

const freeze = () => process.kill(replica.pid, 'SIGSTOP')
const wake = () => process.kill(replica.pid, 'SIGCONT')

function limiterOf(options = {}) {
  const limiter = new Limiter(primary.url, { minReplicas: 1, replicaTimeout: 0.2, ...options })
  limiters.push(limiter)
  return limiter
}

async function empty(limiter, key) {
  await until(async () => {
    const { held, waiting } = await limiter.status(key)
    return held === 0 && waiting === 0
  }, `nobody holds or waits for ${key}`)
}

describe('with a replica that follows', () => {
  test('requests are granted, at once and by hand-off, and the replica has each grant when it is told', async () => {
    const [first, second] = [limiterOf(), limiterOf({ clientName: 'second' })]
    const held = await first.acquire({ key: 'alive', limit: 1, label: 'first' })
    const copy = await redis(replica.port, 'HGETALL', 'cl:{alive}')
    expect(copy.join(' ')).toContain('first')
    const next = second.acquire({ key: 'alive', limit: 1, label: 'second' })
    await until(async () => (await first.status('alive')).waiting === 1, 'the second waits')
    await held.release()
    const lease = await next
    expect((await redis(replica.port, 'HGETALL', 'cl:{alive}')).join(' ')).toContain('second')
    expect(lease.slot).toBe(1)
    expect(await lease.release()).toBe(true)
  })

  test('many grants are checked by few questions', async () => {
    const limiter = limiterOf()
    const asked = async () =>
      Number(/cmdstat_wait:calls=(\d+)/.exec(await redis(primary.port, 'INFO', 'commandstats'))?.[1] ?? 0)
    const before = await asked()
    const leases = await Promise.all(Array.from({ length: 200 }, () => limiter.acquire({ key: 'many', limit: 200 })))
    expect(new Set(leases.map((lease) => lease.slot)).size).toBe(200)
    expect((await asked()) - before).toBeLessThan(20)
    await Promise.all(leases.map((lease) => lease.release()))
  })
})

describe('with a replica that stands still', () => {
  test('nothing is granted, and nothing is held afterwards', async () => {
    const limiter = limiterOf()
    await (await limiter.acquire({ key: 'still', limit: 1 })).release()
    freeze()
    const started = performance.now()
    const tried = await rejection(limiter.tryAcquire({ key: 'still', limit: 1 }))
    expect(tried).toBeInstanceOf(UnavailableError)
    expect(tried.message).toMatch(/only 0 of 1 replicas had the grant within 200ms/)
    expect(performance.now() - started).toBeLessThan(2_000)
    const waited = await rejection(limiter.acquire({ key: 'still', limit: 1, limitTimeout: 1 }))
    expect(waited).toBeInstanceOf(UnavailableError)
    await empty(limiter, 'still')
  })

  test('a request goes on waiting, and is granted when the replica follows again', async () => {
    const limiter = limiterOf()
    await (await limiter.acquire({ key: 'recovers', limit: 1 })).release()
    freeze()
    let settled = false
    const asked = limiter.acquire({ key: 'recovers', limit: 1, limitTimeout: 30 }).finally(() => {
      settled = true
    })
    const givenBack = async () =>
      Number(/cmdstat_wait:calls=(\d+)/.exec(await redis(primary.port, 'INFO', 'commandstats'))[1])
    const before = await givenBack()
    await until(async () => (await givenBack()) >= before + 3, 'it was asked for again and again')
    expect(settled).toBe(false)
    wake()
    await inStep(replica.port)
    const lease = await asked
    expect(lease.waited).toBeGreaterThan(0)
    expect(lease.lost).toBe(false)
    expect(await lease.release()).toBe(true)
    await empty(limiter, 'recovers')
  })

  test('an abort and a close end what was never told, and nothing stays held', async () => {
    const limiter = limiterOf({ replicaTimeout: 5 })
    await (await limiter.acquire({ key: 'ended', limit: 2 })).release()
    freeze()
    const controller = new AbortController()
    const aborted = limiter.acquire({ key: 'ended', limit: 2, signal: controller.signal })
    const closed = limiter.acquire({ key: 'ended', limit: 2 })
    const observer = new Limiter(primary.url)
    limiters.push(observer)
    await until(async () => (await observer.status('ended')).held === 2, 'both are held in Redis')
    controller.abort(new Error('enough'))
    expect((await rejection(aborted)).message).toBe('enough')
    const ended = rejection(closed)
    await limiter.close({ release: false })
    expect((await ended).code).toBe('ERR_CLOSED')
    await empty(observer, 'ended')
  })

  test('without minReplicas nobody asks it', async () => {
    const limiter = new Limiter(primary.url)
    limiters.push(limiter)
    freeze()
    expect(await (await limiter.acquire({ key: 'alone', limit: 1 })).release()).toBe(true)
  })
})

test('a primary without replicas grants nothing, and says why', async () => {
  const lonely = await startRedis()
  const limiter = new Limiter(lonely.url, { minReplicas: 1, replicaTimeout: 0.1 })
  const error = await rejection(limiter.acquire({ key: 'k', limit: 1, limitTimeout: 0.5 }))
  expect(error.message).toMatch(/only 0 of 1 replicas/)
  await empty(limiter, 'k')
  await limiter.close()
  await lonely.stop()
})

test('a connection that was closed while nobody asked costs no grant', async () => {
  const limiter = limiterOf({ clientName: 'closed' })
  const again = async () => (await limiter.tryAcquire({ key: 'closed', limit: 1 })).release()
  expect(await again()).toBe(true)
  const list = await redis(primary.port, 'CLIENT', 'LIST')
  const ours = list.split('\n').filter((line) => line.includes(' name=closed '))
  const idle = ours.find((line) => line.includes('cmd=wait'))
  expect(ours.length).toBe(2)
  expect(await redis(primary.port, 'CLIENT', 'KILL', 'ID', /^id=(\d+)/.exec(idle)[1])).toBe(1)
  expect(await again()).toBe(true)
})

test('the documented rights are enough', async () => {
  const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const [, rights] = /^```\n(ACL SETUSER .*?)^```$/ms.exec(operations)
  const [, more] = /With `minReplicas` also `([^`]+)`/.exec(operations)
  await redis(primary.port, ...rights.trim().split(/\s+/), ...more.split(' '))
  const limiter = limiterOf({ username: 'limiter', password: 'password' })
  expect(await (await limiter.acquire({ key: 'rights', limit: 1 })).release()).toBe(true)
})

test('a user who may not ask for replicas is told so', async () => {
  await redis(primary.port, 'ACL', 'SETUSER', 'nowait', 'on', '>p', '~*', '&*', '+@all', '-wait')
  const limiter = limiterOf({ username: 'nowait', password: 'p' })
  const error = await rejection(limiter.tryAcquire({ key: 'nowait', limit: 1 }))
  expect(error).toBeInstanceOf(UnavailableError)
  expect(error.message).toMatch(/can't be asked.*permissions/)
})
