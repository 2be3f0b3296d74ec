// A slot that stays with its process after its release, and who gets it.
import { Limiter } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { until } from '../support/helpers.mjs'

const KEEP = 2
const server = useRedis()
let keeper
let other
beforeAll(() => {
  keeper = new Limiter(server.url, { clientName: 'keeper' })
  other = new Limiter(server.url)
})
afterAll(() => Promise.all([keeper?.close(), other?.close()]))

const opened = []
afterEach(() => Promise.all(opened.splice(0).map((limiter) => limiter.close())))

const kept = async (limiter = keeper) => (await limiter.stats()).kept

/** All slots of the key, kept; its terms. */
async function keep(key, limit = 1, limiter = keeper, witness = other) {
  const terms = { key, limit, limitKeep: KEEP }
  await until(async () => {
    const leases = await Promise.all(Array.from({ length: limit }, () => limiter.acquire(terms)))
    await Promise.all(leases.map((lease) => lease.release()))
    const [here, there] = await Promise.all([limiter.status(key), witness.status(key)])
    return here.held === 0 && there.held === limit
  }, 'it keeps them')
  return terms
}

test('the next requests have it without a call, and tokens grow', async () => {
  const terms = await keep('reused')
  const { calls, kept: before } = await keeper.stats()
  let token = 0
  for (let i = 0; i < 100; i++) {
    const lease = await keeper.acquire({ ...terms, label: `job ${i}` })
    expect(lease.fencingToken).toBeGreaterThan(token)
    token = lease.fencingToken
    expect(await lease.release()).toBe(true)
  }
  const after = await keeper.stats()
  expect(after.kept.reused - before.reused).toBe(100)
  expect(after.calls - calls).toBeLessThan(10)
})

test('who tries once has it, too, and a request that is not to be kept gives it back', async () => {
  await keep('once')
  const lease = await keeper.tryAcquire({ key: 'once', limit: 1 })
  expect((await other.status('once')).held).toBe(1)
  await lease.release()
  await until(async () => (await other.status('once')).held === 0, 'it is back')
})

test('it is held for others, and free for its own process', async () => {
  await keep('shown')
  expect(await keeper.status('shown')).toMatchObject({ held: 0, holders: [] })
  expect(await other.status('shown')).toMatchObject({ held: 1, holders: [{ slots: [1] }] })
})

describe('whoever else asks has it at once', () => {
  const soon = { limitTimeout: 1 }
  test.each([
    ['by waiting', (terms) => other.acquire({ ...terms, ...soon })],
    ['by trying once', (terms) => other.tryAcquire(terms)],
    ['where nobody may wait', (terms) => other.acquire({ ...terms, ...soon, maxWaiting: 0 })],
    ['on another limit', ({ key }) => other.acquire({ key, limit: 3, weight: 3, ...soon })],
  ])('%s', async (how, ask) => {
    const before = await kept()
    const { limitKeep, ...terms } = await keep(`asked ${how}`, 3)
    const lease = await ask(terms)
    expect(lease).not.toBeNull()
    await until(async () => (await kept()).recalled - before.recalled === 3, 'all went back')
    await lease.release()
  })
})

test('those that try once are refused when all is held', async () => {
  const terms = await keep('held')
  const lease = await keeper.acquire(terms)
  const start = performance.now()
  expect(await other.tryAcquire({ key: 'held', limit: 1 })).toBeNull()
  expect(performance.now() - start).toBeLessThan(1000)
  await lease.release()
})

test('it goes back at the end of its time, and when its limiter is closed', async () => {
  const closing = new Limiter(server.url, { clientName: 'closing' })
  await keep('closed', 1, closing)
  expect((await other.status('closed')).held).toBe(1)
  await closing.close()
  expect((await other.status('closed')).held).toBe(0)
  await keep('ended')
  await until(async () => (await other.status('ended')).held === 0, 'its time is over')
})

test('limiters of one process with the same options share what is kept', async () => {
  await keep('shared')
  const twin = new Limiter(server.url, { clientName: 'keeper' })
  opened.push(twin)
  const { reused } = await kept()
  const lease = await twin.acquire({ key: 'shared', limit: 1 })
  expect((await kept()).reused).toBe(reused + 1)
  await lease.release()
})

test('withLimit and wrap keep, with memory: too', async () => {
  const [limiter, witness] = ['keeper', 'witness'].map((clientName) => new Limiter('memory:', { clientName }))
  opened.push(limiter, witness)
  const terms = await keep('memory', 1, limiter, witness)
  const double = limiter.wrap(terms, async (value) => 2 * value)
  const { reused } = await kept(limiter)
  expect(await limiter.withLimit(terms, async () => double.name)).toBe(double.name)
  expect(await double(2)).toBe(4)
  expect((await kept(limiter)).reused).toBe(reused + 2)
})
