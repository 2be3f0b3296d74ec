// Whatever Redis has for a process that doesn't want it goes, and what isn't renewed ends: rights that are withdrawn
// for a while, a server that goes back to an earlier state, connections that are cut, a network slower than a lease.
import { Limiter } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { redis, rejection, startRedis, until, watchPauses } from '../support/helpers.mjs'
import { startHole } from '../support/hole.mjs'
import { startProxy } from '../support/proxy.mjs'

let server
let witness
const limiters = []
beforeAll(async () => {
  server = await startRedis()
  witness = new Limiter(server.url)
})
afterEach(() => Promise.all(limiters.splice(0).map((limiter) => limiter.close())))
afterAll(() => witness?.close())
afterAll(() => server?.stop())

function limiterOf(options) {
  const limiter = new Limiter(options)
  limiters.push(limiter)
  return limiter
}

const seconds = (since) => (performance.now() - since) / 1000
const free = async (key) => {
  const { held, waiting } = await witness.status(key)
  return held === 0 && waiting === 0
}

/** The keys of a group as they are now; `back()` makes them so again, as a replica that lacks the rest is promoted. */
async function remember(key) {
  const names = ['', ':ends', ':gaps', ':queue'].map((end) => [`cl:{${key}}${end}`, `saved:{${key}}${end}`])
  for (const [name, saved] of names) await redis(server.port, 'COPY', name, saved, 'REPLACE')
  return async () => {
    for (const [name, saved] of names) {
      const there = await redis(server.port, 'COPY', saved, name, 'REPLACE')
      if (there === 0) await redis(server.port, 'DEL', name)
    }
    await redis(server.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
  }
}

test('waiters that are refused while a right is missing leave the line when it is back', async () => {
  await redis(server.port, 'ACL', 'SETUSER', 'clerk', 'on', '>word', '~*', '&*', '+@all')
  const limiter = limiterOf(`redis://clerk:word@127.0.0.1:${server.port}`)
  const held = await witness.acquire({ key: 'right', limit: 1 })
  const waiting = [1, 2, 3].map(() => rejection(limiter.acquire({ key: 'right', limit: 1, limitTimeout: 30 })))
  await until(async () => (await witness.status('right')).waiting === 3, 'they wait')
  await redis(server.port, 'ACL', 'SETUSER', 'clerk', '-@scripting')
  for (const error of await Promise.all(waiting)) expect(error).toMatchObject({ code: 'ERR_UNAVAILABLE' })
  await redis(server.port, 'ACL', 'SETUSER', 'clerk', '+@scripting')
  await until(async () => (await witness.status('right')).waiting === 0, 'they have left', 3000)
  await held.release()
  expect(await free('right')).toBe(true)
})

test('a release that is refused while a right is missing is carried out when it is back', async () => {
  await redis(server.port, 'ACL', 'SETUSER', 'porter', 'on', '>word', '~*', '&*', '+@all')
  const limiter = limiterOf({ url: `redis://porter:word@127.0.0.1:${server.port}`, commandTimeout: 0.3 })
  const lease = await limiter.acquire({ key: 'refused release', limit: 1 })
  await redis(server.port, 'ACL', 'SETUSER', 'porter', '-@scripting')
  expect(await lease.release()).toBe(false)
  await redis(server.port, 'ACL', 'SETUSER', 'porter', '+@scripting')
  await until(() => free('refused release'), 'it is given back', 3000)
})

test('waiters that only an earlier state still has in line get nothing', async () => {
  const limiter = limiterOf(server.url)
  const config = { key: 'ghosts', limit: 1, limitExpire: 20, limitTimeout: 30 }
  const first = await witness.acquire(config)
  const served = [1, 2, 3].map(() => limiter.withLimit(config, () => {}))
  await until(async () => (await witness.status('ghosts')).waiting === 3, 'they wait')
  const back = await remember('ghosts')
  await first.release()
  await Promise.all(served)
  await until(() => free('ghosts'), 'all are served')
  await back()
  const fresh = await limiter.acquire({ ...config, limitTimeout: 5 }).catch((error) => error)
  // The first lease is the witness's, which has given it back: it finds that out itself.
  expect(fresh.slot).toBe(1)
  await fresh.release()
  await until(() => free('ghosts'), 'nothing is left')
})

test('a lease that only an earlier state still has is given back', async () => {
  const limiter = limiterOf(server.url)
  const config = { key: 'stale', limit: 1, limitExpire: 60 }
  const lease = await limiter.acquire(config)
  const back = await remember('stale')
  await lease.release()
  await back()
  await until(() => free('stale'), 'the lease is gone', 3000)
})

test('a holder that an earlier state does not know keeps its slot and token', async () => {
  const limiter = limiterOf(server.url)
  const config = { key: 'forgotten by it', limit: 2, limitExpire: 3 }
  const known = await witness.acquire(config)
  const back = await remember('forgotten by it')
  const lease = await limiter.acquire(config)
  await back()
  const isBack = async () =>
    (await witness.status(config.key)).holders.some((holder) => holder.leaseId === lease.leaseId)
  await until(isBack, 'it has its slot again', 3000)
  const { holders } = await witness.status(config.key)
  expect(holders.map(({ slots, fencingToken }) => [slots[0], fencingToken])).toEqual([
    [known.slot, known.fencingToken],
    [lease.slot, lease.fencingToken],
  ])
  expect(lease.lost).toBe(false)
  expect(await lease.release()).toBe(true)
  expect(await known.release()).toBe(true)
})

test('a lease that is not renewed ends in time although its connection is cut again and again', async () => {
  const proxy = await startProxy(server.port)
  const limiter = limiterOf(`redis://127.0.0.1:${proxy.port}`)
  const pauses = watchPauses()
  const lease = await limiter.acquire({ key: 'not renewed', limit: 1, limitExpire: 1.5, renew: false })
  const begun = performance.now()
  const cutting = setInterval(proxy.cut, 400)
  await until(() => lease.lost, 'it is lost')
  await until(() => free('not renewed'), 'it has ended')
  expect(seconds(begun)).toBeLessThan(1.7 + pauses.longest() / 1000)
  clearInterval(cutting)
  pauses.stop()
  await limiter.close()
  await proxy.close()
})

test('a hung process is not kept holding by cut connections', async () => {
  const proxy = await startProxy(server.port)
  const limiter = limiterOf({ url: `redis://127.0.0.1:${proxy.port}`, stallTimeout: 0.2 })
  const lease = await limiter.acquire({ key: 'hung', limit: 1, limitExpire: 1.2 })
  const end = performance.now() + 2000
  // The proxy stands still with this loop; its connections end with the next turn.
  while (performance.now() < end);
  expect(lease.lost).toBe(true)
  await until(() => free('hung'), 'it has ended')
  await limiter.close()
  await proxy.close()
})

test('a lease shorter than a round trip is an error that says so, in the time of the request', async () => {
  const line = await startHole({ to: server.port, delayMs: 70 })
  const limiter = limiterOf({ url: `redis://127.0.0.1:${line.port}`, commandTimeout: 2 })
  await limiter.acquire({ key: 'warm', limit: 1 }).then((lease) => lease.release())
  for (const limitTimeout of [0, 1]) {
    const begun = performance.now()
    const error = await rejection(limiter.acquire({ key: 'short', limit: 1, limitExpire: 0.1, limitTimeout }))
    expect(error).toMatchObject({ code: 'ERR_UNAVAILABLE' })
    expect(error.message).toMatch(/limitExpire/)
    expect(seconds(begun)).toBeLessThan(limitTimeout + 2.5)
  }
  await until(() => free('short'), 'nothing is left')
  await limiter.close()
  await line.close()
})
