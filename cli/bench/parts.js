'use strict'

// The loads of `bench`: each runs for a bounded time, and tells how many pairs of acquire and release it did and how
// long each took, in ms. Stops early when the signal aborts.

const TERMS = { limitExpire: 10, limitTimeout: 10 }

/** Runs `pair` over and over in `tasks` tasks; `pair(task)` gives what is to be measured, in ms, or nothing. */
async function repeat({ tasks, ms, signal }, pair) {
  const [times, start] = [[], performance.now()]
  const goOn = () => !signal.aborted && performance.now() - start < ms
  const one = async (task) => {
    while (goOn()) {
      const from = performance.now()
      times.push((await pair(task)) ?? performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: tasks }, (_, task) => one(task)))
  return { times, ms: performance.now() - start }
}

const passing = (limiter, key, limit) => async () => {
  await (await limiter.acquire({ ...TERMS, key, limit })).release()
}

const PARTS = {
  'one at a time': ({ one }, options) => repeat({ ...options, tasks: 1 }, passing(one, 'lone', 1)),

  'many tasks, one key, limit 10': ({ one }, options) => repeat(options, passing(one, 'crowd', 10)),

  'many tasks, a key each': ({ one }, options) => {
    return repeat(options, (task) => passing(one, `own-${task}`, 1)())
  },

  // Two sessions, as of two processes: from the release of the one to the grant of the other.
  'hand-off to another session': async ({ one, two }, options) => {
    const terms = { ...TERMS, key: 'passed', limit: 1 }
    let [lease, holder, other] = [await one.acquire(terms), one, two]
    const result = await repeat({ ...options, tasks: 1 }, async () => {
      const next = other.acquire(terms)
      while ((await holder.status('passed')).waiting === 0 && !options.signal.aborted);
      const from = performance.now()
      const [, granted] = await Promise.all([lease.release(), next])
      ;[lease, holder, other] = [granted, other, holder]
      return performance.now() - from
    })
    await lease.release()
    return result
  },
}

// It asks who waits all the time, which would count as well.
const NOT_COUNTED = ['hand-off to another session']

/** The value below which that share of the sorted ones lies. */
const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]

/** One part's figures; `usedUs()` is what the server has spent in our calls so far, or null. */
async function measure(name, limiters, options, usedUs) {
  const before = await usedUs()
  const { times, ms } = await PARTS[name](limiters, options)
  const after = await usedUs()
  times.sort((a, b) => a - b)
  const isCounted = before !== null && after !== null && !NOT_COUNTED.includes(name)
  const round = (value) => (value === undefined ? null : Number(value.toFixed(3)))
  return {
    name,
    pairs: times.length,
    pairsPerSecond: Math.round(times.length / (ms / 1000)),
    p50Ms: round(quantile(times, 0.5)),
    p99Ms: round(quantile(times, 0.99)),
    redisUsPerPair: isCounted && times.length > 0 ? Math.round((after - before) / times.length) : null,
  }
}

module.exports = { PART_NAMES: Object.keys(PARTS), measure }
