// State that vanishes under those who hold and wait: they re-enter or are told, and the group heals.
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { forgetLibrary, redis, until } from '../support/helpers.mjs'
import { debugArgs } from '../support/programs.mjs'

const LIMIT = 3
const LEASE = 1.5

const server = useRedis({ args: debugArgs() })

/** Three hold, and two of another process wait, in the order in which they are listed. */
async function fullGroup(key) {
  const config = { key, limit: LIMIT, limitExpire: LEASE, limitTimeout: 15 }
  const holder = new Limiter(server.url)
  const other = new Limiter(server.url, { clientName: key.replaceAll(' ', '-') })
  const held = await Promise.all(Array.from({ length: LIMIT }, () => holder.acquire(config)))
  const waiters = []
  const order = []
  for (let i = 0; i < 2; i++) {
    const waiter = other.acquire(config).then((lease) => {
      order.push(i)
      return lease
    })
    waiters.push(waiter)
    await until(async () => (await holder.status(key)).waiting === i + 1, 'it waits')
  }
  return { held, waiters, order, holder, end: () => Promise.all([holder.close(), other.close()]) }
}

/** Everything comes back once it is released, and whoever comes then gets the lowest slots. */
async function expectHealed(key, { held, waiters, holder }) {
  const granted = await Promise.all(waiters)
  for (const lease of [...held, ...granted]) await lease.release()
  expect(await holder.status(key)).toMatchObject({ held: 0, waiting: 0, holders: [], waiters: [] })
  const config = { key, limit: LIMIT, limitExpire: LEASE }
  const fresh = await Promise.all(Array.from({ length: LIMIT }, () => holder.tryAcquire(config)))
  expect(fresh.map(({ slot }) => slot)).toEqual([1, 2, 3])
  expect(await holder.tryAcquire(config)).toBe(null)
  for (const lease of fresh) expect(await lease.release()).toBe(true)
}

const kept = {
  'the sorted set of ends': (key) => redis(server.port, 'DEL', `cl:{${key}}:ends`),
  'the sorted set of gaps': (key) => redis(server.port, 'DEL', `cl:{${key}}:gaps`),
  'the line': (key) => redis(server.port, 'DEL', `cl:{${key}}:queue`),
  'all three sorted sets': (key) =>
    redis(server.port, 'DEL', ...['ends', 'gaps', 'queue'].map((k) => `cl:{${key}}:${k}`)),
  'the functions and the cache of scripts': () => forgetLibrary(server.port),
  'what is not in a snapshot, at a reload,': () => redis(server.port, 'DEBUG', 'RELOAD'),
}

describe.concurrent.each(Object.entries(kept))('%s vanishes', (what, vanish) => {
  test('and no lease is lost, nobody gets in, the order of the line stays', async () => {
    const group = await fullGroup(what)
    const { held, waiters, order, holder, end } = group
    await vanish(what)
    await sleep(LEASE * 2000)
    expect(held.map(({ lost }) => lost)).toEqual([false, false, false])
    expect(order).toEqual([])
    expect(await holder.status(what)).toMatchObject({ held: 3, waiting: 2 })
    expect(await held[1].release()).toBe(true)
    expect((await waiters[0]).slot).toBe(2)
    expect(order).toEqual([0])
    await held[0].release()
    expect((await waiters[1]).slot).toBe(1)
    await expectHealed(what, group)
    await end()
  })
})

const lost = {
  'the hash': (key) => redis(server.port, 'DEL', `cl:{${key}}`),
  'every key of the group': (key) =>
    redis(server.port, 'DEL', `cl:{${key}}`, ...['ends', 'gaps', 'queue'].map((k) => `cl:{${key}}:${k}`)),
}

describe.concurrent.each(Object.entries(lost))('%s vanishes', (what, vanish) => {
  test('and within a lease no more hold than may: the others have been told', async () => {
    const group = await fullGroup(what)
    await expectReentry(what, group, () => vanish(what))
    await group.end()
  })
})

async function expectReentry(key, group, vanish) {
  const { held, waiters, order, holder } = group
  await vanish()
  await sleep(LEASE * 1000)
  const stay = held.filter(({ lost }) => !lost)
  const inside = stay.length + order.length
  expect(inside).toBeLessThanOrEqual(LIMIT)
  const { holders } = await holder.status(key)
  const ids = holders.map(({ leaseId }) => leaseId)
  for (const { leaseId } of stay) expect(ids).toContain(leaseId)
  expect(ids).toHaveLength(inside)
  for (const { lost, signal } of held) expect(signal.aborted).toBe(lost)
  for (const lease of held) expect(await lease.release()).toBe(stay.includes(lease))
  await Promise.all(waiters)
  await expectHealed(key, group)
}

test('FLUSHALL: the same, for every group', async () => {
  const groups = await Promise.all(['one', 'two'].map(async (key) => [key, await fullGroup(key)]))
  const flushed = redis(server.port, 'FLUSHALL')
  await Promise.all(groups.map(([key, group]) => expectReentry(key, group, () => flushed)))
  for (const [, { end }] of groups) await end()
})

test('a lone holder whose group was flushed re-enters with its slot and token at its next renewal', async () => {
  const limiter = new Limiter(server.url)
  const lease = await limiter.acquire({ key: 'lone', limit: LIMIT, limitExpire: LEASE })
  await redis(server.port, 'FLUSHALL')
  const [again] = await until(async () => {
    const { holders } = await limiter.status('lone')
    return holders.length > 0 && holders
  }, 'it is back')
  expect(again).toMatchObject({ leaseId: lease.leaseId, fencingToken: lease.fencingToken, slots: [lease.slot] })
  const next = await limiter.acquire({ key: 'lone', limit: LIMIT })
  expect(next.slot).toBe(2)
  expect(next.fencingToken).toBeGreaterThan(lease.fencingToken)
  expect(lease.lost).toBe(false)
  expect(await lease.release()).toBe(true)
  await limiter.close()
})
