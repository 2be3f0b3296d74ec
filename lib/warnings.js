'use strict'

// What is said by process.emitWarning: habits of a program that work against it, each said once. What concerns one
// limiter while it runs is an event of that limiter instead.

const MOST_KEYS = 1000

const forgotten = new Set()
const nested = new Set()
let hasWarnedOfMemory = false
let hasWarnedOfMany = false
let hasWarnedOfMilliseconds = false
let hasWarnedOfAnybody = false

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

/** Whether a key is named: once, and for so many keys that it stays bounded. */
function isFirst(keys, key) {
  if (keys.size >= MOST_KEYS || keys.has(key)) return false
  keys.add(key)
  return true
}

function warnOfForgotten(key) {
  if (!isFirst(forgotten, key)) return
  const last = forgotten.size === MOST_KEYS ? ' No further keys are named; stats().forgotten counts on.' : ''
  warn(
    'FORGOTTEN_LEASE',
    `A lease of ${JSON.stringify(key)} was garbage-collected without release. Its slot stays held while this process ` +
      'lives, since work under it may still run. Call lease.release() in a finally block, or use withLimit or ' +
      `await using; limitHold bounds how long a lease may be held.${last}`,
  )
}

function warnOfNesting(key, isCertain) {
  if (!isFirst(nested, key)) return
  const why = isCertain
    ? 'The leases around it leave no slot for it, so it waits for them. If their work waits for it, none of it goes on ' +
      'before limitTimeout is over.'
    : 'It has waited for a second. Where all slots are held by work that waits like this, none of it goes on before ' +
      'limitTimeout is over.'
  warn(
    'NESTED',
    `A slot of ${JSON.stringify(key)} is asked for under a lease of the same key. ${why} Ask once, outside, with the ` +
      'weight that is needed, or use another key inside.',
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

/**
 * Of a time of 1,000 s or more. What is meant in seconds is mostly tens of minutes or a fraction: 1800, 3600, 86400.
 */
function warnOfMilliseconds(name, value) {
  const isTensOfMinutes = value % 600 === 0 && value % 1000 !== 0
  if (hasWarnedOfMilliseconds || !Number.isSafeInteger(value) || isTensOfMinutes) return
  hasWarnedOfMilliseconds = true
  warn('MILLISECONDS', `${name}: ${value} means ${value} seconds. If milliseconds are meant, write ${value / 1000}.`)
}

function warnOfAnybody() {
  if (hasWarnedOfAnybody) return
  hasWarnedOfAnybody = true
  warn(
    'UNVERIFIED',
    'NODE_TLS_REJECT_UNAUTHORIZED is 0: the certificates of Redis servers are not verified, so anybody may sit between.',
  )
}

module.exports = { warnOfAnybody, warnOfForgotten, warnOfMany, warnOfMemory, warnOfMilliseconds, warnOfNesting }
