// Signals that aren't the platform's own: what lacks a part is still a signal, or a ConfigError, and nothing is held.
import { ConfigError } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { countsOf, useLimiter, useRedis } from '../support/fixtures.mjs'
import { rejection, until } from '../support/helpers.mjs'

const server = useRedis()

describe.each(['Redis', 'memory:'])('on %s', (place) => {
  const limiter = useLimiter(place === 'Redis' ? server : place)
  const counts = countsOf(limiter)

  /** A signal as a library may make it; `parts` replaces what a real one has. */
  function makeSignal(parts) {
    const target = new EventTarget()
    const signal = {
      aborted: false,
      addEventListener: (...args) => target.addEventListener(...args),
      removeEventListener: (...args) => target.removeEventListener(...args),
      abort() {
        this.aborted = true
        target.dispatchEvent(new Event('abort'))
      },
    }
    return Object.defineProperties(signal, Object.getOwnPropertyDescriptors(parts))
  }
  const fail = () => {
    throw new Error('of the signal')
  }
  const WITHOUT_REASON = {
    'has no reason': {},
    'throws for its reason': {
      get reason() {
        return fail()
      },
    },
    'throws when a listener is removed': { removeEventListener: fail },
    'keeps listeners that are removed': { removeEventListener() {} },
  }

  test.each(Object.entries(WITHOUT_REASON))(
    'a signal that %s: an AbortError, and nothing is held',
    async (what, parts) => {
      const key = `a signal that ${what}`
      const holder = await limiter.acquire({ key, limit: 1 })
      const signal = makeSignal(parts)
      const config = { key, limit: 1, signal }
      const asked = Promise.all([rejection(limiter.acquire(config)), rejection(limiter.withLimit(config, () => {}))])
      await until(async () => (await counts(key)).waiting === 2, 'they wait')
      signal.abort()
      for (const error of await asked) expect(error).toMatchObject({ name: 'AbortError' })
      for (const method of ['acquire', 'tryAcquire']) {
        expect(await rejection(limiter[method](config))).toMatchObject({ name: 'AbortError' })
      }
      await holder.release()
      // And one that isn't aborted takes nothing away.
      const calm = makeSignal(parts)
      const lease = await limiter.acquire({ key, limit: 1, signal: calm })
      calm.abort()
      expect(await lease.release()).toBe(true)
      await until(async () => (await counts(key)).held === 0, 'nothing is held')
      expect(await counts(key)).toEqual({ held: 0, waiting: 0 })
    },
  )

  test('a signal that aborts while it is being listened to ends the request', async () => {
    const holder = await limiter.acquire({ key: 'sudden', limit: 1 })
    const signal = makeSignal({ addEventListener: (_, listener) => listener() })
    expect(await rejection(limiter.acquire({ key: 'sudden', limit: 1, signal }))).toMatchObject({ name: 'AbortError' })
    await holder.release()
    await until(async () => (await counts('sudden')).held === 0, 'nothing is held')
    expect(await counts('sudden')).toEqual({ held: 0, waiting: 0 })
  })

  test('a signal that stops telling whether it is aborted counts as aborted, and the grant goes back', async () => {
    let reads = 0
    const signal = makeSignal({
      get aborted() {
        return ++reads > 2 ? fail() : false
      },
    })
    expect(await rejection(limiter.acquire({ key: 'mute', limit: 1, signal }))).toMatchObject({ name: 'AbortError' })
    await until(async () => (await counts('mute')).held === 0, 'nothing is held')
  })

  const NO_SIGNALS = {
    'without addEventListener': { addEventListener: undefined },
    'without removeEventListener': { removeEventListener: undefined },
    'whose addEventListener throws': { addEventListener: fail },
    'without aborted': { aborted: undefined },
    'that throws for aborted': {
      get aborted() {
        return fail()
      },
    },
  }

  test.each(Object.entries(NO_SIGNALS))('a signal %s is a ConfigError, and nothing is held', async (_, parts) => {
    const config = { key: 'no signal', limit: 1, signal: makeSignal(parts) }
    for (let again = 0; again < 2; again++) {
      for (const method of ['acquire', 'tryAcquire']) {
        const error = await rejection(limiter[method](config))
        expect(error).toBeInstanceOf(ConfigError)
        expect(error).toMatchObject({ option: 'signal' })
      }
    }
    await until(async () => (await counts('no signal')).held === 0, 'nothing is held')
    expect(await counts('no signal')).toEqual({ held: 0, waiting: 0 })
    await until(async () => (await limiter.stats()).waiting === 0, 'nobody waits')
  })
})
