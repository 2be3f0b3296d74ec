'use strict'

// The open limiters of this thread, and what ends with each. They are referenced weakly here. A limiter is kept alive
// by its user, its leases and its requests; once it is collected, it is closed in the core. Limiters that share a
// session have the same options, and are counted.

const bridge = require('./bridge.js')
const longWaits = require('./long-waits.js')
const releaseOn = require('./release-on.js')
const { clearInterval, setInterval } = require('./timers.js')
const traces = require('./traces.js')
const { warnOfMany } = require('./warnings.js')

const MOST_ALIKE = 100
const LONGEST_BEAT_MS = 60_000

const alike = new Map() // session → the entries of its limiters

const dropped = new FinalizationRegistry((entry) => {
  leave(entry)
  bridge.ask('Close', entry.client, true)
  bridge.forget(entry.client)
})

/**
 * Opens a client for a limiter that is closed on `signals`. `hear(limiter, happened, text)` is called for events of its
 * connection, `waitsLong(limiter, key, ms)` for requests that wait for long. Nothing that is made here may refer to the
 * limiter, or it would never be collected.
 */
function enter(limiter, settings, signals, { hear, waitsLong }) {
  const known = new WeakRef(limiter)
  const client = bridge.open(settings, (happened, text) => {
    const listening = known.deref()
    if (listening !== undefined) hear(listening, happened, text)
  })
  const session = bridge.sessionOf(client)
  const work = { isOverTransport: settings.client !== undefined, close: async () => known.deref()?.close() }
  const waits = (key, waitedMs) => {
    const waiting = known.deref()
    if (waiting !== undefined) waitsLong(waiting, key, waitedMs)
  }
  const entry = { client, session, heart: beat(client, settings.stallTimeoutMs), signals, work, waits, told: new Map() }
  longWaits.attend(entry)
  releaseOn.add(signals, work)
  const twins = alike.get(session) ?? new Set()
  alike.set(session, twins.add(entry))
  if (twins.size > MOST_ALIKE) warnOfMany(twins.size)
  dropped.register(limiter, entry, entry)
  return entry
}

// The core renews on its own thread, so it has to be told that this thread's event loop still turns.
function beat(client, stallTimeoutMs) {
  if (stallTimeoutMs === undefined) return undefined
  return setInterval(() => bridge.beat(client), Math.min(stallTimeoutMs / 4, LONGEST_BEAT_MS)).unref()
}

/** The limiter is closing. */
function leave(entry) {
  dropped.unregister(entry)
  clearInterval(entry.heart)
  longWaits.quit(entry)
  releaseOn.remove(entry.signals, entry.work)
  const twins = alike.get(entry.session)
  twins.delete(entry)
  if (twins.size > 0) return
  alike.delete(entry.session)
  traces.connected(entry.session, undefined, new Error('the limiter was closed'))
}

/** The sessions that are open in this thread, each with one of its clients. */
function sessions() {
  return new Map([...alike].map(([session, [{ client }]]) => [session, client]))
}

module.exports = { enter, leave, sessions }
