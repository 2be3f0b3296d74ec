'use strict'

// Warns of requests that wait for long, and tells who holds: an event `warning`, once a minute for a key. All waiting
// requests are checked every few seconds while a limiter is open, so a single request costs nothing.

const bridge = require('./bridge.js')
const { clearInterval, setInterval } = require('./timers.js')

const LOOK_MS = 5_000
const LONG_MS = 10_000
const AGAIN_MS = 60_000

const openLimiters = new Set() // the entries of register.js
let timer

/** From now on `entry.waits(key, waitedMs)` is called for requests of its client that wait for long. */
function attend(entry) {
  openLimiters.add(entry)
  timer ??= setInterval(look, LOOK_MS).unref()
}

function quit(entry) {
  openLimiters.delete(entry)
  if (openLimiters.size > 0) return
  clearInterval(timer)
  timer = undefined
}

function look() {
  const waiting = bridge.asking()
  if (waiting.length === 0) return
  const now = bridge.now()
  const longest = new Map() // client → key → the longest wait
  for (const request of waiting) {
    // Without metrics or traces a request has no start time before this.
    request.askedAt ||= now
    const waited = now - request.askedAt
    if (waited < LONG_MS) continue
    const keys = longest.get(request.client) ?? new Map()
    longest.set(request.client, keys.set(request.key, Math.max(waited, keys.get(request.key) ?? 0)))
  }
  for (const entry of openLimiters) tell(entry, longest.get(entry.client) ?? new Map(), now)
}

function tell(entry, keys, now) {
  for (const [key, { at }] of entry.told) if (now - at >= AGAIN_MS) entry.told.delete(key)
  for (const [key, waited] of keys) {
    if (entry.told.has(key)) continue
    entry.told.set(key, { at: now })
    entry.waits(key, waited)
  }
}

module.exports = { attend, quit }
