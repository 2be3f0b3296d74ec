// An AbortSignal takes a request out of the line at once, and nothing of it stays behind.
import { getEventListeners } from 'node:events'
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { countsOf, useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, rejection, runNode, startRedis, until } from '../support/helpers.mjs'
import { startReplica } from '../support/replicas.mjs'

const server = useRedis()

describe.each(['Redis', 'memory:'])('on %s', (place) => {
  const limiter = useLimiter(place === 'Redis' ? server : place)
  const counts = countsOf(limiter)

  test('a signal that is aborted already rejects with its reason, and nothing is asked', async () => {
    const reason = new Error('changed my mind')
    const signal = AbortSignal.abort(reason)
    const config = { key: 'never', limit: 1, signal }
    expect(await rejection(limiter.acquire(config))).toBe(reason)
    expect(await rejection(limiter.tryAcquire(config))).toBe(reason)
    expect(await rejection(limiter.withLimit(config, () => {}))).toBe(reason)
    expect(await counts('never')).toEqual({ held: 0, waiting: 0 })
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  test('an abort while waiting rejects with its reason within the same turn, and the line is left', async () => {
    const holder = await limiter.acquire({ key: 'line', limit: 1 })
    const controller = new AbortController()
    const waiter = limiter.acquire({ key: 'line', limit: 1, signal: controller.signal })
    await until(async () => (await counts('line')).waiting === 1, 'it waits')
    let settled = false
    const rejected = rejection(waiter).finally(() => {
      settled = true
    })
    controller.abort('a reason of any type')
    await Promise.resolve().then(() => new Promise((resolve) => process.nextTick(resolve)))
    expect(settled).toBe(true)
    expect(await rejected).toBe('a reason of any type')
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
    await until(async () => (await counts('line')).waiting === 0, 'nobody waits')
    await holder.release()
    expect(await counts('line')).toEqual({ held: 0, waiting: 0 })
  })

  test('AbortSignal.timeout works as a limit of time', async () => {
    const holder = await limiter.acquire({ key: 'timeout', limit: 1 })
    const error = await rejection(limiter.acquire({ key: 'timeout', limit: 1, signal: AbortSignal.timeout(50) }))
    expect(error.name).toBe('TimeoutError')
    await holder.release()
  })

  test('no listener stays on the signal after a grant or a refusal', async () => {
    const { signal } = new AbortController()
    const lease = await limiter.acquire({ key: 'listeners', limit: 1, signal })
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    await rejection(limiter.acquire({ key: 'listeners', limit: 1, limitTimeout: 0, signal }))
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    await lease.release()
  })

  test('an abort after the grant takes nothing away', async () => {
    const controller = new AbortController()
    const lease = await limiter.acquire({ key: 'after', limit: 1, signal: controller.signal })
    controller.abort()
    expect(lease.lost).toBe(false)
    expect(await lease.release()).toBe(true)
  })

  test('aborts that race with grants leave no holder and no waiter behind', async () => {
    const outcomes = { granted: 0, aborted: 0 }
    await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        const controller = new AbortController()
        const asked = limiter.acquire({ key: 'race', limit: 3, signal: controller.signal })
        // From the same turn to some milliseconds later, so that aborts meet requests at every stage; a few stay.
        if (i % 4 === 0) controller.abort('raced')
        else if (i % 10 !== 1) setTimeout(() => controller.abort('raced'), Math.random() * 20)
        try {
          const lease = await asked
          outcomes.granted++
          await lease.release()
        } catch (reason) {
          expect(reason).toBe('raced')
          outcomes.aborted++
        }
      }),
    )
    expect(outcomes.granted).toBeGreaterThanOrEqual(15)
    expect(outcomes.aborted).toBeGreaterThanOrEqual(75)
    await until(async () => {
      const { held, waiting } = await counts('race')
      return held === 0 && waiting === 0
    }, 'nothing is left')
  })

  test('aborts at every step around the grant leave nothing granted that nobody has', async () => {
    const steps = Array.from({ length: 40 }, (_, i) => stepAfter(i))
    const outcomes = { granted: 0, aborted: 0 }
    for (let round = 0; round < 50; round++) {
      await Promise.all(
        steps.map(async (step) => {
          const controller = new AbortController()
          const asked = limiter.acquire({ key: 'steps', limit: 12, signal: controller.signal })
          step().then(() => controller.abort('stepped'))
          try {
            const lease = await asked
            outcomes.granted++
            await lease.release()
          } catch (reason) {
            expect(reason).toBe('stepped')
            outcomes.aborted++
          }
        }),
      )
    }
    expect(outcomes.granted).toBeGreaterThan(100)
    expect(outcomes.aborted).toBeGreaterThan(100)
    await until(async () => {
      const { held, waiting } = await limiter.stats()
      return held === 0 && waiting === 0
    }, 'the core holds nothing')
    await until(async () => (await counts('steps')).held === 0, 'nothing is held')
    expect(await counts('steps')).toEqual({ held: 0, waiting: 0 })
  })

  test('an abort between the grant and the turn of who asked rejects, and the grant goes back', async () => {
    const controller = new AbortController()
    const config = { key: 'between', limit: 9, signal: controller.signal }
    await limiter.acquire({ key: 'between: brief', limit: 1, limitExpire: 0.2, renew: false })
    // The event of a loss comes in the turn in which grants are delivered, before those who asked go on.
    limiter.once('lost', () => controller.abort('between'))
    // Redis answers while this thread stands still, also where it would have been quicker than that.
    if (place !== 'memory:') await redis(server.port, 'CLIENT', 'PAUSE', 100)
    const reasons = Promise.all([rejection(limiter.acquire(config)), rejection(limiter.tryAcquire(config))])
    // An embedded store answers in the call that asks, which comes after this turn; Redis has to be asked before.
    if (place !== 'memory:') await Promise.resolve()
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
    expect(await reasons).toEqual(['between', 'between'])
    await until(async () => (await counts('between')).held === 0, 'nothing is held')
    expect((await limiter.stats()).waiting).toBe(0)
  })

  test('one signal for many requests has one listener, from the first of them to the last', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const count = () => getEventListeners(signal, 'abort').length
    const config = { key: 'one signal', limit: 1, signal }
    const holder = await limiter.acquire(config)
    expect(count()).toBe(0)
    const settled = []
    const ask = (i) =>
      limiter.acquire(config).catch((reason) => {
        settled.push(i)
        return reason
      })
    const asked = Array.from({ length: 50 }, (_, i) => ask(i))
    expect(count()).toBe(1)
    await until(async () => (await counts('one signal')).waiting === 50, 'they wait')
    await holder.release()
    const first = await asked[0]
    expect(first.slot).toBe(1)
    expect(count()).toBe(1)
    const reason = new Error('all of you')
    controller.abort(reason)
    const reasons = await Promise.all(asked.slice(1))
    expect(new Set(reasons)).toEqual(new Set([reason]))
    // In the order in which they came; the lease that was granted is left alone.
    expect(settled).toEqual(Array.from({ length: 49 }, (_, i) => i + 1))
    expect(count()).toBe(0)
    expect(first.lost).toBe(false)
    expect(await first.release()).toBe(true)
    await until(async () => (await counts('one signal')).waiting === 0, 'nobody waits')
  })

  test('AbortSignal.any of long-lived signals takes out all that wait on it', async () => {
    const controller = new AbortController()
    const both = AbortSignal.any([controller.signal, AbortSignal.timeout(60_000)])
    const holder = await limiter.acquire({ key: 'any', limit: 1 })
    const asked = Array.from({ length: 20 }, () => limiter.acquire({ key: 'any', limit: 1, signal: both }))
    const rejected = Promise.all(asked.map(rejection))
    expect(getEventListeners(both, 'abort')).toHaveLength(1)
    await until(async () => (await counts('any')).waiting === 20, 'they wait')
    controller.abort('any of them')
    expect(new Set(await rejected)).toEqual(new Set(['any of them']))
    await holder.release()
    await until(async () => (await counts('any')).waiting === 0, 'nobody waits')
    expect(await counts('any')).toEqual({ held: 0, waiting: 0 })
  })
})

/** One of many moments after now: so many microtasks, ticks, turns of the loop or milliseconds later. */
function stepAfter(i) {
  const times = Math.floor(i / 4)
  const next = [() => Promise.resolve(), () => new Promise((resolve) => process.nextTick(resolve)), () => immediate()]
  const one = next[i % 4] ?? (() => sleep(1))
  return async () => {
    for (let n = 0; n <= times; n++) await one()
  }
}

test('a grant that comes although its request has left goes back: too few replicas, and enough again', async () => {
  const primary = await startRedis()
  const replica = await startReplica(primary.port)
  const limiter = new Limiter(primary.url, { minReplicas: 1, replicaTimeout: 0.01 })
  let isStopped = false
  const toggle = setInterval(() => {
    isStopped = !isStopped
    process.kill(replica.pid, isStopped ? 'SIGSTOP' : 'SIGCONT')
  }, 60)
  try {
    const ask = async () => {
      const controller = new AbortController()
      setTimeout(() => controller.abort('late'), Math.random() * 250)
      const asked = limiter.acquire({ key: 'late', limit: 5000, signal: controller.signal })
      await asked.then(
        (lease) => lease.release(),
        (reason) => expect(reason).toBe('late'),
      )
    }
    for (let round = 0; round < 12; round++) await Promise.all(Array.from({ length: 500 }, ask))
    clearInterval(toggle)
    process.kill(replica.pid, 'SIGCONT')
    await until(async () => (await limiter.stats()).held === 0, 'the core holds nothing')
    await until(async () => (await limiter.status('late')).held === 0, 'nothing is held')
  } finally {
    clearInterval(toggle)
    await limiter.close()
    await replica.stop()
    await primary.stop()
  }
})

test('a signal that many requests were made with keeps neither them nor itself alive, and nobody is warned', async () => {
  const source = `
    import { Limiter } from 'concurrency-limit'
    const limiter = new Limiter('memory:')
    const work = (signal) => limiter.withLimit({ key: 'k', limit: 100, signal }, ({ slot }) => slot)
    const { signal } = new AbortController()
    for (let i = 0; i < 5; i++) await Promise.all(Array.from({ length: 1000 }, () => work(signal)))
    const asked = []
    const dropped = await (async () => {
      const controller = new AbortController()
      const any = AbortSignal.any([controller.signal])
      const lease = await limiter.acquire({ key: 'held', limit: 1, signal: any })
      await limiter.acquire({ key: 'held', limit: 1, signal: any, limitTimeout: 0.01 }).catch(({ code }) => asked.push(code))
      return { lease, refs: [new WeakRef(any), new WeakRef(controller.signal)] }
    })()
    const isGone = () => dropped.refs.every((ref) => ref.deref() === undefined)
    for (let i = 0; i < 100 && !isGone(); i++) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      gc()
    }
    console.log(isGone(), dropped.lease.lost, asked.join())`
  const outcome = await runNode(['--expose-gc', '--input-type=module', '-'], { source })
  expect(outcome).toEqual({ code: 0, output: 'true false ERR_LIMIT_EXCEEDED\n' })
})

test('the time for many requests with one signal grows as their number does', async () => {
  const limiter = new Limiter('memory:')
  const { signal } = new AbortController()
  /** The processor's time, in ms, that so many requests take; the best of two. */
  const cost = async (count, config) => {
    let least = Infinity
    for (let round = 0; round < 2; round++) {
      const start = process.cpuUsage()
      await Promise.all(Array.from({ length: count }, () => limiter.acquire(config).then((lease) => lease.release())))
      const { user, system } = process.cpuUsage(start)
      least = Math.min(least, (user + system) / 1000)
    }
    return least
  }
  const config = { key: 'many', limit: 20_000 }
  const without = await cost(20_000, config)
  const one = await cost(20_000, { ...config, signal })
  // With a listener each it was 7 times as much, and for 40,000 it was 25 times.
  expect(one / without).toBeLessThan(2)
  await limiter.close()
})
