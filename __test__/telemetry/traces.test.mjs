// The tracing channels tell what requests, leases and connections do, each once, in the caller's async context; and
// without listeners nothing of it is made.
import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { Limiter, tracingChannels } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { redis, rejection, until } from '../support/helpers.mjs'

const server = useRedis()
let limiter
beforeAll(() => {
  limiter = new Limiter(server.url, { clientName: 'tracer' })
})
afterAll(() => limiter?.close())

const stops = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

const LOSS = /^ +Self::\w+ => "([^"]+)",$/gm
const PHASES = ['start', 'end', 'asyncStart', 'asyncEnd', 'error']

/** What a channel tells from now on: `[phase, context]`, with what `look` gives for each. */
function listen(name, look = () => undefined) {
  const heard = []
  const channel = tracingChannel(tracingChannels[name])
  const listeners = Object.fromEntries(
    PHASES.map((phase) => [phase, (context) => heard.push({ phase, context, seen: look(context) })]),
  )
  channel.subscribe(listeners)
  stops.push(() => channel.unsubscribe(listeners))
  heard.phases = () => heard.map(({ phase }) => phase)
  heard.last = () => heard.at(-1).context
  return heard
}

describe('a request that is granted', () => {
  test.each([
    ['acquire and release', (config) => limiter.acquire(config).then((lease) => lease.release())],
    ['tryAcquire', (config) => limiter.tryAcquire(config).then((lease) => lease.release())],
    ['await using', (config) => limiter.acquire(config).then((lease) => lease[Symbol.asyncDispose]())],
    ['withLimit', (config) => limiter.withLimit(config, () => {})],
    ['wrap', (config) => limiter.wrap(config, () => {})()],
  ])('by %s is one acquisition and one hold', async (_, run) => {
    const acquired = listen('acquire')
    const held = listen('hold')
    await run({ key: 'granted', limit: 2, weight: 2, label: 'l' })
    const place = { serverAddress: '127.0.0.1', serverPort: server.port, db: 0, clientName: 'tracer', limiter }
    const terms = { key: 'granted', limit: 2, weight: 2, label: 'l', slot: 1 }
    for (const heard of [acquired, held]) {
      expect(heard.phases()).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
      expect(new Set(heard.map(({ context }) => context)).size).toBe(1)
      expect(heard.last()).toMatchObject({ ...place, ...terms })
      expect(heard.last().waited).toBeGreaterThanOrEqual(0)
    }
    expect(acquired.last()).toMatchObject({ outcome: 'acquired', result: { key: 'granted', slot: 1 } })
    expect(held.last()).toMatchObject({ outcome: 'released', leaseId: acquired.last().result.leaseId })
    expect(held.last().held).toBeGreaterThanOrEqual(0)
  })
})

describe('a request that is refused', () => {
  const ask = (more, tried = 'acquire') => limiter[tried]({ key: 'refused', limit: 1, ...more })
  let lease
  beforeAll(async () => {
    lease = await ask()
  })
  afterAll(() => lease.release())

  test.each([
    ['full', () => ask({ limitTimeout: 0 })],
    ['timed_out', () => ask({ limitTimeout: 0.05 })],
    ['queue_full', () => ask({ maxWaiting: 0 })],
    ['request_canceled', () => ask({ signal: AbortSignal.timeout(20) })],
    ['request_canceled', () => ask({ signal: AbortSignal.abort('a text') })],
  ])('ends as %s, with the error that the caller gets', async (outcome, refused) => {
    const heard = listen('acquire')
    const held = listen('hold')
    const error = await rejection(refused())
    expect(heard.phases()).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
    expect(heard.last()).toMatchObject({ outcome, error })
    expect(heard.last().waited).toBeGreaterThanOrEqual(0)
    expect(held).toHaveLength(0)
  })

  test('by tryAcquire ends as full, without an error', async () => {
    const heard = listen('acquire')
    expect(await ask({}, 'tryAcquire')).toBe(null)
    expect(heard.phases()).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    expect(heard.last()).toMatchObject({ outcome: 'full', result: null, limitTimeout: 0 })
  })

  test('by a limiter that is closed, before it asks and while it waits, ends as closed', async () => {
    const other = new Limiter(server.url, { keyPrefix: 'other' })
    const mine = await other.acquire({ key: 'k', limit: 1 })
    const heard = listen('acquire')
    const waits = rejection(other.acquire({ key: 'k', limit: 1 }))
    await until(async () => (await other.status('k')).waiting === 1, 'it waits')
    await other.close()
    await waits
    await rejection(other.acquire({ key: 'k', limit: 1 }))
    const ended = heard.filter(({ phase }) => phase === 'asyncEnd')
    expect(ended.map(({ context }) => context.outcome)).toEqual(['closed', 'closed'])
    expect(mine.lost).toBe(true)
  })

  test('for its config is none', async () => {
    const heard = listen('acquire')
    await rejection(ask({ limit: 0 }))
    expect(heard).toHaveLength(0)
  })

  test('shows in its stack who asked', async () => {
    listen('acquire')
    async function aFunctionOfTheUser() {
      return await ask({ limitTimeout: 0 })
    }
    expect((await rejection(aFunctionOfTheUser())).stack).toContain('aFunctionOfTheUser')
  })
})

describe('a hold', () => {
  test('that is lost ends once, with reason and error', async () => {
    const held = listen('hold')
    const lease = await limiter.acquire({ key: 'lost', limit: 1, holder: 'h', limitExpire: 3 })
    const second = await limiter.acquire({ key: 'lost', limit: 1, holder: 'h', limitExpire: 3 })
    await until(() => lease.lost, 'the first is lost')
    await limiter.release({ key: 'lost', leaseId: second.leaseId })
    await until(() => lease.lost && held.phases().filter((phase) => phase === 'asyncEnd').length === 2, 'both are lost')
    await lease.release()
    const lost = held.filter(({ phase }) => phase === 'error').map(({ context }) => context)
    expect(lost.map(({ outcome }) => outcome)).toEqual(['lost', 'lost'])
    expect(lost.map(({ reason }) => reason)).toEqual(['taken_over', 'gone'])
    expect(lost[0].error.code).toBe('ERR_LEASE_LOST')
    expect(held.phases().filter((phase) => phase === 'asyncEnd')).toHaveLength(2)
  })

  test.each([[{ release: true }], [{ release: false }]])(
    'of a limiter that is closed (%o) ends as closed',
    async (how) => {
      const other = new Limiter(server.url, { keyPrefix: 'closing' })
      const held = listen('hold')
      await other.acquire({ key: `k${how.release}`, limit: 1 })
      await other.close(how)
      expect(held.phases()).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
      expect(held.last().outcome).toBe('closed')
    },
  )

  test('that began before anybody listened is not told of', async () => {
    const lease = await limiter.acquire({ key: 'before', limit: 1 })
    const held = listen('hold')
    await lease.release()
    expect(held).toHaveLength(0)
  })

  test('knows a name for every reason that the core has', () => {
    const words = [...readFileSync(new URL('../../crates/core/src/error.rs', import.meta.url), 'utf8').matchAll(LOSS)]
    const traces = readFileSync(new URL('../../lib/traces.js', import.meta.url), 'utf8')
    expect(words.length).toBeGreaterThan(5)
    for (const [, text] of words) expect(traces).toContain(`'${text}': '`)
  })
})

describe('the async context', () => {
  const user = new AsyncLocalStorage()

  test('of the caller is that of every message but the loss of a lease', async () => {
    const acquired = listen('acquire', () => user.getStore())
    const held = listen('hold', () => user.getStore())
    const names = ['a', 'b', 'c', 'd']
    await Promise.all(
      names.map((name) =>
        user.run(name, () =>
          limiter.withLimit({ key: 'context', limit: 2, label: name }, async () => {
            await new Promise((resolve) => setTimeout(resolve, 5))
            expect(user.getStore()).toBe(name)
          }),
        ),
      ),
    )
    for (const heard of [acquired, held]) {
      expect(heard).toHaveLength(16)
      for (const { context, seen } of heard) expect(seen).toBe(context.label)
    }
  })

  test('that is bound to the start of a hold is the one of the work, and ends with it', async () => {
    const channel = tracingChannel(tracingChannels.hold)
    const bound = new AsyncLocalStorage()
    channel.start.bindStore(bound, ({ key }) => `in ${key}`)
    stops.push(() => channel.start.unbindStore(bound))
    const seen = await limiter.withLimit({ key: 'bound', limit: 1 }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1))
      return bound.getStore()
    })
    expect(seen).toBe('in bound')
    expect(bound.getStore()).toBe(undefined)
  })

  test('may be set by a listener, around the work; what the work throws is thrown', async () => {
    const own = new AsyncLocalStorage()
    const channel = tracingChannel(tracingChannels.hold)
    const start = (context) => {
      context.around = (work) => own.run('around', work)
    }
    channel.start.subscribe(start)
    stops.push(() => channel.start.unsubscribe(start))
    const held = listen('hold')
    const failed = limiter.withLimit({ key: 'around', limit: 1 }, () => {
      throw new Error(own.getStore())
    })
    expect((await rejection(failed)).message).toBe('around')
    expect(held.last().outcome).toBe('released')
  })
})

describe('a connection', () => {
  test('is an attempt that ends, at first and again', async () => {
    const heard = listen('connect')
    // No answer is taken for lost on a busy machine.
    const options = { db: 3, clientName: 'connects', commandTimeout: 30 }
    const [other, twin] = [new Limiter(server.url, options), new Limiter(server.url, options)]
    await Promise.all([other.acquire({ key: 'k', limit: 2 }), twin.acquire({ key: 'k', limit: 2 })])
    expect(heard.phases()).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    const place = { serverAddress: '127.0.0.1', serverPort: server.port, db: 3, clientName: 'connects' }
    expect(heard.last()).toEqual({ ...place, isReconnect: false })
    const [, id] = /id=(\d+) [^\n]*name=connects /.exec(await redis(server.port, 'CLIENT', 'LIST'))
    await redis(server.port, 'CLIENT', 'KILL', 'ID', id)
    await until(() => heard.phases().filter((phase) => phase === 'asyncEnd').length === 2, 'it is connected again')
    expect(heard.last()).toEqual({ ...place, isReconnect: true })
    await Promise.all([other.close(), twin.close()])
  })

  test('that fails ends with an error', async () => {
    const heard = listen('connect')
    const lonely = new Limiter('redis://user:hunter2@127.0.0.1:1', { connectTimeout: 0.2 })
    await rejection(lonely.acquire({ key: 'k', limit: 1, limitTimeout: 0 }))
    await lonely.close()
    expect(heard.phases().slice(0, 4)).toEqual(['start', 'end', 'error', 'asyncStart'])
    expect(heard[0].context.error.message).not.toBe('')
    expect(JSON.stringify(heard) + heard[0].context.error.stack).not.toContain('hunter2')
  })

  test('to the embedded store is none', async () => {
    const heard = listen('connect')
    const inMemory = new Limiter('memory:')
    await inMemory.withLimit({ key: 'k', limit: 1 }, () => {})
    await inMemory.close()
    expect(heard).toHaveLength(0)
  })
})

test('a lease that is forgotten is noticed all the same', async () => {
  // The context of a hold lives as long as the hold, so nothing in it may lead to the Lease.
  const held = listen('hold')
  const lease = await limiter.acquire({ key: 'reach', limit: 1 })
  const seen = new Set()
  const reaches = (value) => {
    if (value === lease) return true
    if (value === null || typeof value !== 'object' || value instanceof Limiter || seen.has(value)) return false
    seen.add(value)
    return Reflect.ownKeys(value).some((name) => reaches(value[name]))
  }
  expect(reaches(held.last())).toBe(false)
  await lease.release()
})
