'use strict'

// What is said by process.emitWarning: habits of a program that work against it, each said once. What concerns one
// limiter while it runs is an event of that limiter instead.

const MOST_KEYS = 1000

const warnedKeys = new Set()
let hasWarnedOfMemory = false
let hasWarnedOfMany = false
let hasWarnedOfMilliseconds = false

function warn(code, message) {
  process.emitWarning(message, { type: 'ConcurrencyLimitWarning', code: `CONCURRENCY_LIMIT_${code}` })
}

function warnOfMemory() {
  if (hasWarnedOfMemory) return
  hasWarnedOfMemory = true
  warn(
    'MEMORY',
    'No Redis server is named, neither to Limiter nor by REDIS_URL: limits hold in this process only. ' +
      "Say new Limiter('memory:') if that is meant.",
  )
}

/** Once per key, and for so many keys that it stays bounded. */
function warnOfForgotten(key) {
  if (warnedKeys.size >= MOST_KEYS || warnedKeys.has(key)) return
  warnedKeys.add(key)
  const last = warnedKeys.size === MOST_KEYS ? ' No further keys are named; stats().forgotten counts on.' : ''
  warn(
    'FORGOTTEN_LEASE',
    `A lease of ${JSON.stringify(key)} was garbage-collected without release. Its slot stays held while this process ` +
      'lives, since work under it may still run. Call lease.release() in a finally block, or use withLimit or ' +
      `await using; limitHold bounds how long a lease may be held.${last}`,
  )
}

function warnOfMany(count) {
  if (hasWarnedOfMany) return
  hasWarnedOfMany = true
  warn(
    'MANY_LIMITERS',
    `${count} limiters with the same options are open in one thread. Make one Limiter per process and set of options, ` +
      'not one per request, and use it for all keys; or close() each when it is done.',
  )
}

/** Of a time of 1,000 s or more. What is meant in seconds is mostly tens of minutes or a fraction: 1800, 3600, 86400. */
function warnOfMilliseconds(name, value) {
  const isTensOfMinutes = value % 600 === 0 && value % 1000 !== 0
  if (hasWarnedOfMilliseconds || !Number.isInteger(value) || isTensOfMinutes) return
  hasWarnedOfMilliseconds = true
  warn('MILLISECONDS', `${name}: ${value} means ${value} seconds. If milliseconds are meant, write ${value / 1000}.`)
}

module.exports = { warnOfForgotten, warnOfMany, warnOfMemory, warnOfMilliseconds }
