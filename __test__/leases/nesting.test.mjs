// A request under a lease of its own key may wait for itself: a warning tells, and only then.
import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Limiter } from '../../index.js'
import { rejection, until } from '../support/helpers.mjs'

/** Whether leases around a request are known behind an `await`, too: see lib/nesting.js. */
const isKnownThroughout = typeof AsyncLocalStorage.prototype._enable !== 'function'

let limiter
let warned
const hear = ({ code, message }) => code === 'CONCURRENCY_LIMIT_NESTED' && warned.push(message)
beforeEach(() => {
  limiter = new Limiter('memory:')
  warned = []
  process.on('warning', hear)
})
afterEach(async () => {
  process.off('warning', hear)
  await limiter.close()
})

/** What was warned of before now. */
const warnings = async () => {
  await new Promise(setImmediate)
  return warned
}

let last = 0
const config = (more) => ({ key: `nested ${++last}`, limit: 2, limitTimeout: 0.05, ...more })

test('one that finds all slots held by the leases around it is told of at once, for each key once', async () => {
  const outer = config({ limitTimeout: 10 })
  const inner = { ...outer, weight: 2 }
  for (let i = 0; i < 2; i++) {
    const leave = new AbortController()
    const asked = limiter.withLimit(outer, () => limiter.withLimit({ ...inner, signal: leave.signal }, () => {}))
    asked.catch(() => {})
    await until(async () => (await limiter.status(outer.key)).waiting === 1, 'it waits')
    expect(await warnings()).toHaveLength(1)
    leave.abort()
    await rejection(asked)
  }
  expect(warned).toEqual([expect.stringContaining(`"${outer.key}"`)])
})

test.each([
  ['withLimit', (own) => limiter.withLimit(own, () => {})],
  ['wrap', (own) => limiter.wrap(own, () => {})()],
  ['acquire', (own) => limiter.acquire(own)],
])('%s is told of', async (_, ask) => {
  const own = config({ limit: 1 })
  await rejection(limiter.withLimit(own, () => ask(own)))
  expect(await warnings()).toHaveLength(1)
})

test.runIf(isKnownThroughout)('one behind an await, and several leases around it, are told of', async () => {
  const own = config({ limit: 2 })
  const again = async (depth) => {
    await null
    await limiter.withLimit(own, () => again(depth + 1))
  }
  expect((await rejection(again(0))).code).toBe('ERR_LIMIT_EXCEEDED')
  expect(await warnings()).toHaveLength(1)
})

test('one that waits long, since work like it holds the other slots, is told of', async () => {
  const own = config({ limit: 2, limitTimeout: 30 })
  const leave = new AbortController()
  const inner = { ...own, signal: leave.signal }
  const both = [1, 2].map(() => rejection(limiter.withLimit(own, () => limiter.withLimit(inner, () => {}))))
  expect(await warnings()).toEqual([])
  await until(() => warned.length > 0, 'the warning')
  leave.abort()
  await Promise.all(both)
  expect(await warnings()).toEqual([expect.stringContaining('waited for a second')])
})

test('one that has room, has another key, only tries, takes its holder along, or comes after the lease is not told of', async () => {
  const own = config({ limit: 1 })
  await limiter.withLimit({ ...own, limit: 2 }, () => limiter.withLimit({ ...own, limit: 2 }, () => {}))
  await limiter.withLimit(own, () => limiter.withLimit({ ...own, key: `${own.key}'s` }, () => {}))
  await limiter.withLimit(own, () => limiter.tryAcquire(own))
  await rejection(limiter.withLimit(own, () => limiter.acquire({ ...own, limitTimeout: 0 })))
  await limiter.withLimit({ ...own, holder: 'me' }, () => limiter.withLimit({ ...own, holder: 'me' }, () => {}))
  await limiter.withLimit(own, async (lease) => {
    await lease.release()
    await limiter.withLimit(own, () => {})
  })
  let later
  await limiter.withLimit(own, () => {
    later = new Promise((resolve) => setTimeout(resolve, 20)).then(() => limiter.withLimit(own, () => {}))
  })
  await later
  expect(await warnings()).toEqual([])
})
