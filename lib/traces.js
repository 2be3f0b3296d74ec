'use strict'

// The tracing channels: `tracing:concurrency-limit:acquire`, `…:hold` and `…:connect`, each with the five of
// `node:diagnostics_channel`: start, end, asyncStart, asyncEnd, error. What their contexts have, `index.d.ts` says.
//
// An acquisition or a hold that begins while nobody listens has no context and is never told of. Contexts of holds
// don't refer to the Lease: it must be collectable, so that a lease that is forgotten is noticed.

const { tracingChannel } = require('node:diagnostics_channel')
const bridge = require('./bridge.js')
const { isAborted } = require('./signals.js')

const tracingChannels = Object.freeze({
  acquire: 'concurrency-limit:acquire',
  hold: 'concurrency-limit:hold',
  connect: 'concurrency-limit:connect',
})
const acquiring = tracingChannel(tracingChannels.acquire)
const holding = tracingChannel(tracingChannels.hold)
const connecting = tracingChannel(tracingChannels.connect)

const RESULTS = {
  ERR_LIMIT_EXCEEDED: 'timed_out',
  ERR_QUEUE_FULL: 'queue_full',
  ERR_UNAVAILABLE: 'unavailable',
  ERR_CLOSED: 'closed',
}

/** What a loss is called, by the core's words for it; `docs/observability.md` says what each means. */
const REASONS = {
  'no renewal was confirmed in time': 'expired',
  'its end passed before a renewal was confirmed': 'expired',
  'Redis no longer has it': 'gone',
  'taken over': 'taken_over',
  'held for longer than limitHold': 'held_too_long',
  'its time is over and it is not renewed': 'not_renewed',
  'the event loop stood still for longer than stallTimeout': 'stalled',
}

const attempts = new Map() // session → context of its attempt to connect

// Node.js 20 has `hasSubscribers` of a whole TracingChannel since 20.13.
const isHeard = ({ start, end, asyncStart, asyncEnd, error }) =>
  start.hasSubscribers ||
  asyncEnd.hasSubscribers ||
  error.hasSubscribers ||
  end.hasSubscribers ||
  asyncStart.hasSubscribers

/** Whether somebody listens to what requests and leases do. */
const isWatched = () => isHeard(acquiring) || isHeard(holding)

const since = (at) => (bridge.now() - at) / 1000

class AcquireContext {
  #askedAt = bridge.now()
  outcome = undefined
  result = undefined
  error = undefined
  slot = undefined
  waited = undefined

  constructor(limiter, place, terms) {
    takeRequest(this, limiter, place, terms)
    this.priority = terms.priority
    this.limitTimeout = terms.limitTimeout
  }

  end(outcome, waited = since(this.#askedAt)) {
    this.outcome = outcome
    this.waited = waited
  }
}

class HoldContext {
  #since = bridge.now()
  outcome = undefined
  reason = undefined
  error = undefined
  held = undefined
  around = undefined

  constructor(asked, lease) {
    takeRequest(this, asked.limiter, asked, asked)
    this.slot = lease.slot
    this.leaseId = lease.leaseId
    this.fencingToken = lease.fencingToken
    this.standIn = lease.standIn
    this.waited = asked.waited
  }

  end(outcome) {
    this.outcome = outcome
    this.held = since(this.#since)
  }
}

class ConnectContext {
  isReconnect = undefined
  error = undefined

  constructor(place) {
    takePlace(this, place)
  }
}

function takePlace(context, { serverAddress, serverPort, db, clientName }) {
  context.serverAddress = serverAddress
  context.serverPort = serverPort
  context.db = db
  context.clientName = clientName
}

/** What the contexts of a request and of its lease both have. */
function takeRequest(context, limiter, place, { key, limit, weight, label }) {
  context.limiter = limiter
  takePlace(context, place)
  context.key = key
  context.limit = limit
  context.weight = weight
  context.label = label
}

function begin(channel, context) {
  channel.start.runStores(context, () => {})
  channel.end.publish(context)
}

function finish(channel, context) {
  channel.asyncStart.publish(context)
  channel.asyncEnd.publish(context)
}

function fail(channel, context, error) {
  context.error = error
  channel.error.publish(context)
  finish(channel, context)
}

/** The context of a request that begins now. */
function asks(limiter, place, terms) {
  const context = new AcquireContext(limiter, place, terms)
  begin(acquiring, context)
  return context
}

/** It has a lease. With `isWithin` the hold begins in `within`, else now. */
function granted(context, lease, hold, isWithin) {
  context.end('acquired', hold.waitedMs / 1000)
  context.result = lease
  context.slot = lease.slot
  finish(acquiring, context)
  hold.trace = new HoldContext(context, lease)
  if (!isWithin) begin(holding, hold.trace)
}

/** `tryAcquire` has none. */
function full(context) {
  context.end('full')
  context.result = null
  finish(acquiring, context)
}

/** It has none, and `error` is thrown. */
function refused(context, error, signal) {
  const isAtOnce = error?.code === 'ERR_LIMIT_EXCEEDED' && context.limitTimeout === 0
  const outcome = isAtOnce ? 'full' : RESULTS[error?.code]
  context.end(outcome ?? (isAborted(signal) ? 'request_canceled' : 'failed'))
  fail(acquiring, context, error)
}

/** Runs the work under a lease, inside of what listeners have bound to the start of its hold. */
function within(hold, work) {
  const context = hold.trace
  if (context === null) return work()
  return holding.start.runStores(context, () => {
    try {
      return context.around === undefined ? work() : context.around(work)
    } finally {
      holding.end.publish(context)
    }
  })
}

/** The promise of the release, which tells of the end: in the async context of who releases. */
async function untilGiven(hold) {
  const wasHeld = await hold.given
  if (hold.trace !== null) over(hold, wasHeld ? 'released' : 'gone')
  return wasHeld
}

/** The hold is over: `released`, `lost`, `gone` or `closed`. */
function over(hold, outcome) {
  const context = hold.trace
  hold.trace = null
  context.end(outcome)
  if (outcome !== 'lost') return finish(holding, context)
  context.reason = REASONS[hold.error.why] ?? 'other'
  fail(holding, context, hold.error)
}

/** A session tries to connect. Each of its limiters is told, and the first of them tells. */
function connects(session, place) {
  if (attempts.has(session) || place.serverAddress === undefined || !isHeard(connecting)) return
  const context = new ConnectContext(place)
  attempts.set(session, context)
  begin(connecting, context)
}

/** It has succeeded, or `error` says why not. */
function connected(session, isReconnect, error) {
  const context = attempts.get(session)
  if (context === undefined) return
  attempts.delete(session)
  context.isReconnect = isReconnect
  if (error === undefined) finish(connecting, context)
  else fail(connecting, context, error)
}

module.exports = {
  asks,
  connected,
  connects,
  full,
  granted,
  isWatched,
  over,
  refused,
  tracingChannels,
  untilGiven,
  within,
}
