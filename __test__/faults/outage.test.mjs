// Redis that stands still, or comes back with nothing: holders know in time, calls end in time, the limit holds.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redis, rejection, startRedis, until, watchPauses } from '../support/helpers.mjs'
import { judge, startCrowd } from '../support/load.mjs'

/** Between two threads and back, beside what the machine takes. */
const HOPS_MS = 20

const servers = []
async function start(options) {
  const server = await startRedis(options)
  servers.push(server)
  return server
}
afterAll(() => Promise.all(servers.map((server) => server.stop())))

const elapsed = async (promise) => {
  const start = performance.now()
  const outcome = await promise.catch((error) => error)
  return { outcome, ms: performance.now() - start }
}

/** Stops the server; resolves once it does nothing any more. */
async function stopStill({ pid }) {
  process.kill(pid, 'SIGSTOP')
  await until(() => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '), 'it stands still')
}

describe.concurrent('Redis is stopped', () => {
  let stopped
  let paused
  beforeAll(async () => {
    ;[stopped, paused] = await Promise.all([start(), start()])
  })

  // By itself: it measures.
  test.sequential('for longer than the lease: it is lost by its end, calls end in time, and all is well afterwards', async () => {
    const limiter = new Limiter(stopped.url, { connectTimeout: 1 })
    const lease = await limiter.acquire({ key: 'k', limit: 1, limitExpire: 1 })
    const aborted = new Promise((resolve) => lease.signal.addEventListener('abort', () => resolve(performance.now())))
    const pauses = watchPauses()
    await stopStill(stopped)
    const stoppedAt = performance.now()
    const calls = Promise.all([
      elapsed(limiter.acquire({ key: 'k', limit: 2, limitTimeout: 0.5 })),
      elapsed(limiter.tryAcquire({ key: 'k', limit: 2 })),
      elapsed(limiter.status('k')),
    ])
    // The last renewal that Redis can have confirmed was sent before it was stopped.
    await until(() => performance.now() - stoppedAt >= 1000, 'the lease has ended')
    expect(lease.lost).toBe(true)
    expect(lease.signal.reason.code).toBe('ERR_LEASE_LOST')
    expect((await aborted) - stoppedAt).toBeLessThan(1000 + pauses.longest())
    const [waited, tried, asked] = await calls
    const released = await elapsed(lease.release())
    pauses.stop()
    // The core's thread may be as late as this one.
    const late = HOPS_MS + 2 * pauses.longest()
    // commandTimeout, 1 s, beyond the request's own time; where it tries once, connectTimeout beside it.
    for (const { outcome } of [waited, tried, asked]) expect(outcome).toMatchObject({ code: 'ERR_UNAVAILABLE' })
    expect(waited.ms).toBeLessThan(1500 + late)
    expect(tried.ms).toBeLessThan(2000 + late)
    expect(released.outcome).toBe(false)
    expect(released.ms).toBeLessThan(1000 + late)
    process.kill(stopped.pid, 'SIGCONT')
    const next = await limiter.acquire({ key: 'k', limit: 1, limitTimeout: 5 })
    expect(next.fencingToken).toBeGreaterThan(lease.fencingToken)
    expect(await next.release()).toBe(true)
    await limiter.close()
  })

  test('for two seconds of a longer lease: nobody who has the time to wait hears of it', async () => {
    const config = { key: 'k', limit: 3, limitExpire: 6, limitTimeout: 20 }
    const crowd = startCrowd({ options: { url: paused.url }, config, tasks: 5, work: [1, 20] })
    try {
      const processes = [crowd.join(), crowd.join()]
      await until(() => crowd.written() > 8_000, 'they are at work')
      process.kill(paused.pid, 'SIGSTOP')
      await sleep(2000)
      process.kill(paused.pid, 'SIGCONT')
      const before = crowd.written()
      await until(() => crowd.written() > before + 8_000, 'they go on')
      for (const { errors, full, lost } of await Promise.all(processes.map((process) => process.finish()))) {
        expect({ errors, full, lost }).toEqual({ errors: [], full: 0, lost: [] })
      }
      expect(judge(crowd.events(), 3)).toEqual({ wrong: [], most: 3, left: 0 })
    } finally {
      crowd.end()
    }
  })
})

describe.concurrent('Redis is restarted empty', () => {
  /** Three of three are held, others wait, Redis is killed and comes back with nothing. */
  async function restart(work) {
    const lasts = work === 'until the finish'
    const server = await start()
    const config = { key: 'k', limit: 3, limitExpire: 8, limitTimeout: 20 }
    const crowd = startCrowd({ options: { url: server.url }, config, tasks: 3, work: [1, 50] })
    const limiter = new Limiter(server.url)
    const counts = async () => {
      const { held, waiting } = (await elapsed(limiter.status('k'))).outcome
      return `${held} held, ${waiting} waiting`
    }
    try {
      const holders = crowd.join({ work })
      await until(async () => (await counts()) === '3 held, 0 waiting', 'three hold')
      const waiters = [crowd.join(), crowd.join()]
      await until(async () => (await counts()) === '3 held, 6 waiting', 'six wait')
      const heldUntilNow = crowd.written()
      await server.stop()
      await start({ port: server.port, age: 0 })
      const ends = []
      if (lasts) {
        await until(async () => (await counts()).startsWith('3 held'), 'the three hold again')
        expect(crowd.written()).toBe(heldUntilNow)
        ends.push(holders.finish())
      }
      await until(() => crowd.written() > heldUntilNow + 8_000, 'others have had their turn', 20_000)
      ends.push(...(lasts ? waiters : [holders, ...waiters]).map((process) => process.finish()))
      for (const { errors, full, lost } of await Promise.all(ends)) {
        expect({ errors, full, lost }).toEqual({ errors: [], full: 0, lost: [] })
      }
      expect(judge(crowd.events(), 3)).toEqual({ wrong: [], most: 3, left: 0 })
      expect(await limiter.status('k')).toMatchObject({ held: 0, waiting: 0 })
    } finally {
      crowd.end()
      await limiter.close()
    }
  }

  test('while all is held: holders keep their slots, and nobody gets in beside them', () => restart('until the finish'))

  test('and what was held is over before it settles: who waited gets in and keeps what it got', () =>
    restart([1200, 1200]))

  test('tells a request that tries once that it settles, never that it is full', async () => {
    const server = await start({ age: 0 })
    const limiter = new Limiter(server.url)
    const askedAt = performance.now()
    const error = await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))
    expect(error.code).toBe('ERR_UNAVAILABLE')
    const lease = await limiter.acquire({ key: 'k', limit: 1 })
    expect(performance.now() - askedAt).toBeGreaterThan(900)
    await lease.release()
    await limiter.close()
  })
})

test('Redis is restarted with an old snapshot: who holds now keeps its slot, whoever had it or its name then', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-old-'))
  const args = ['--dir', folder]
  const server = await start({ args })
  const [former, limiter] = ['former', 'now'].map((clientName) => new Limiter(server.url, { clientName }))
  const short = { key: 'k', limit: 3, limitExpire: 1 }
  const long = { key: 'k', limit: 3, limitExpire: 20 }
  const before = []
  for (const config of [short, { ...long, holder: 'taken' }, long]) before.push(await former.acquire(config))
  await redis(server.port, 'SAVE')
  await before[0].release()
  await before[2].release()
  const held = []
  for (const config of [long, long, { ...long, holder: 'taken' }]) held.push(await limiter.acquire(config))
  expect(held.map(({ slot }) => slot)).toEqual([1, 3, 2])
  await server.stop()
  const again = await start({ args, port: server.port, age: 0 })
  const waiter = limiter.acquire(long)
  await until(async () => (await elapsed(limiter.status('k'))).outcome.waiting === 1, 'it has settled')
  const { holders } = await limiter.status('k')
  expect(holders.map(({ leaseId }) => leaseId)).toEqual([held[0], held[2], held[1]].map(({ leaseId }) => leaseId))
  expect(held.map(({ lost }) => lost)).toEqual([false, false, false])
  for (const lease of held) expect(await lease.release()).toBe(true)
  expect(await (await waiter).release()).toBe(true)
  expect(await limiter.status('k')).toMatchObject({ held: 0, waiting: 0 })
  await Promise.all([former.close(), limiter.close()])
  await again.stop()
  rmSync(folder, { recursive: true, force: true })
})
