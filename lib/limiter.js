'use strict'

// The limiter, as its user sees it: promises over the bridge, errors, events, disposal. It has no rule of the limiter;
// config.js and connection.js check every value before it goes to the core.

const { EventEmitter } = require('node:events')
const diagnostics = require('node:diagnostics_channel')
const bridge = require('./bridge.js')
const config = require('./config.js')
const { readConnection } = require('./connection.js')
const { ClosedError, configErrorFrom, failure, longWait } = require('./errors.js')
const { Hold } = require('./hold.js')
const { Holders } = require('./holders.js')
const { Lease } = require('./lease.js')
const { forget, meterOf } = require('./metrics/meter.js')
const { render } = require('./metrics/prometheus.js')
const nesting = require('./nesting.js')
const { placeOf } = require('./place.js')
const register = require('./register.js')
const { isAborted, reasonOf } = require('./signals.js')
const { nextTick } = require('./timers.js')
const { withoutCredentials } = require('./told.js')
const traces = require('./traces.js')
const { warnOfMemory } = require('./warnings.js')

/** The connection's events that users get; the rest is for traces. */
const CONNECTION_EVENTS = {
  Disconnected: 'disconnect',
  Reconnected: 'reconnect',
  PushUnavailable: 'pushUnavailable',
  Warning: 'warning',
}
const channels = Object.create(null)
for (const name of ['lost', ...Object.values(CONNECTION_EVENTS)]) {
  channels[name] = diagnostics.channel(`concurrency-limit:${name}`)
}

/** Marks the limiters of every loaded copy of this package. */
const IS_LIMITER = Symbol.for('concurrency-limit.limiter')

class Limiter extends EventEmitter {
  // A limiter of another copy of this package counts too.
  static [Symbol.hasInstance](value) {
    const isOfThisCopy = Function.prototype[Symbol.hasInstance].call(this, value)
    return isOfThisCopy || (this === Limiter && value?.[IS_LIMITER] === true)
  }

  #entry
  #client
  #owner
  #place
  #holders
  #closing = null
  #warnings = new Set() // what works, but not as meant, in the server's current state

  constructor(url, options) {
    super()
    const { isDefault, releaseOn, ...settings } = readConnection(url, options, process.env)
    const isOverTransport = settings.client !== undefined
    this.#owner = { closed: false, isOverTransport, lost: (hold) => this.#tellLoss(hold) }
    this.#entry = enter(this, settings, releaseOn, { hear: Limiter.#hear, waitsLong: Limiter.#waitsLong })
    this.#client = this.#entry.client
    this.#place = placeOf(settings)
    this.#holders = new Holders((key) => this.status(key), bridge.now)
    if (isDefault) warnOfMemory()
  }

  static #hear(limiter, happened, text) {
    const message = withoutCredentials(text)
    const { session } = limiter.#entry
    const isAgain = happened === 'Reconnected'
    if (happened === 'Connecting') traces.connects(session, limiter.#place)
    else if (happened === 'Connected' || isAgain) traces.connected(session, isAgain)
    else if (happened === 'ConnectFailed') traces.connected(session, undefined, new Error(message))
    const event = CONNECTION_EVENTS[happened]
    if (event === undefined) return
    if (event === 'disconnect') limiter.#warnings.clear()
    if (event === 'warning' || event === 'pushUnavailable') limiter.#warnings.add(message)
    limiter.#tell(event, { message })
  }

  static async #waitsLong(limiter, key, waitedMs) {
    if (limiter.listenerCount('warning') === 0 && !channels.warning.hasSubscribers) return
    const holders = await limiter.#holders.of(key)
    limiter.#tell('warning', { message: longWait(key, Math.round(waitedMs / 1000), holders) })
  }

  acquire(limitConfig) {
    return this.#acquire(limitConfig, false)
  }

  tryAcquire(limitConfig) {
    return this.#acquire(limitConfig, true)
  }

  async withLimit(limitConfig, fn) {
    config.readFunction('fn', fn)
    const terms = config.readLimit(limitConfig)
    const lease = await this.#acquire(limitConfig, false, terms, true)
    const { hold } = terms
    const frame = nesting.frameOf(this.#entry.session, terms, hold)
    try {
      const result = await traces.within(hold, () => nesting.runUnder(frame, fn, lease))
      if (terms.rejectOnLoss && hold.isLost()) throw hold.error
      return result
    } finally {
      nesting.leave(frame)
      // Never rejects, so the error of `fn` stays the one that is thrown.
      await hold.endScope()
    }
  }

  wrap(limitConfig, fn) {
    config.readFunction('fn', fn)
    const choose = typeof limitConfig === 'function' ? limitConfig : undefined
    if (choose === undefined) config.readLimit(limitConfig)
    const limiter = this
    const wrapped = async function (...args) {
      const chosen = choose === undefined ? limitConfig : choose.apply(this, args)
      return limiter.withLimit(chosen, () => fn.apply(this, args))
    }
    return Object.defineProperty(wrapped, 'name', { value: fn.name, configurable: true })
  }

  async ready(options = {}) {
    const probe = config.readReady(options)
    for (;;) {
      const lease = await this.acquire(probe)
      await lease.release()
      if (!lease.standIn) return { warnings: [...this.#warnings] }
      // The lease came from the fallback, which doesn't answer this: so it rejects, unless Redis is back.
      await this.status(probe.key)
    }
  }

  async status(key) {
    const answer = await this.#question('Status', config.readKey(key))
    if (answer instanceof bridge.Refusal) throw failure(answer, { key })
    return { key, ...answer }
  }

  async clean(key) {
    const answer = await this.#question('Clean', config.readKey(key))
    if (answer instanceof bridge.Refusal) throw failure(answer, { key })
    return answer
  }

  async *keys(pattern = '*') {
    config.readPattern(pattern)
    let page = { cursor: '0' }
    do {
      page = await this.#question('Keys', pattern, page.cursor)
      if (page instanceof bridge.Refusal) throw failure(page)
      yield* page.keys
    } while (page.cursor !== '0')
  }

  async release(target) {
    const { key, holder, lease } = config.readReleaseBy(target)
    const answer = await this.#question('ReleaseBy', key, holder === undefined, holder ?? lease)
    if (answer instanceof bridge.Refusal) throw failure(answer, { key })
    return answer === 1
  }

  async stats() {
    const answer = await this.#question('Stats')
    if (answer instanceof bridge.Refusal) throw failure(answer)
    return { ...answer, forgotten: bridge.forgottenOf(this.#client) }
  }

  async metrics(options = {}) {
    const settings = config.readMetrics(options)
    this.#checkOpen()
    const meter = meterOf(this, settings)
    const stats = await this.stats()
    return render(meter.collect(stats, ({ owner }) => owner === this.#owner))
  }

  close(options = {}) {
    try {
      this.#closing ??= this.#close(config.readClose(options))
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#closing
  }

  async [Symbol.asyncDispose]() {
    await this.close()
  }

  async #close(release) {
    this.#owner.closed = true
    register.leave(this.#entry)
    forget(this)
    // Without release, the leases that somebody was told of run to their ends.
    if (!release) bridge.leaveAll(this.#client)
    for (const hold of bridge.holds.values()) {
      if (hold.owner !== this.#owner) continue
      bridge.holds.delete(hold.n)
      if (hold.trace !== null) traces.over(hold, 'closed')
      // Work under a lease that is given back now must be told; without release the lease runs to its end.
      if (release) hold.lost('the limiter was closed')
    }
    const answer = await bridge.ask('Close', this.#client, release)
    bridge.forget(this.#client)
    if (answer instanceof bridge.Refusal) this.#tell('warning', { message: failure(answer).message })
  }

  /** `isTry`: null when full, without waiting. `isWithin`: for `withLimit`, whose work is traced. */
  async #acquire(limitConfig, isTry, terms = config.readLimit(limitConfig), isWithin = false) {
    if (isTry) terms.limitTimeout = terms.timeoutMs = 0
    const trace = traces.isWatched() ? traces.asks(this, this.#place, terms) : null
    try {
      const hold = this.#newHold(terms)
      if (trace !== null) hold.askedAt = bridge.now()
      terms.hold = hold
      const answer = hold.ask(terms)
      if (!isTry) nesting.watch(this.#entry.session, terms, hold)
      const refusal = await answer
      if (refusal === null) return this.#leaseOf(hold, terms.signal, trace, isWithin)
      if (refusal.name === 'Cancelled') throw reasonOf(terms.signal)
      if (refusal.name !== 'LimitExceeded') throw failure(refusal, terms)
      if (!isTry) {
        const [, held, waiting] = refusal.numbers
        throw failure(refusal, { ...terms, holders: await this.#holders.of(terms.key, held, waiting) })
      }
    } catch (error) {
      if (trace !== null) traces.refused(trace, error, terms.signal)
      throw error
    }
    if (trace !== null) traces.full(trace)
    return null
  }

  #newHold(terms) {
    this.#checkOpen()
    if (isAborted(terms.signal)) throw reasonOf(terms.signal)
    return new Hold(this.#client, terms, this.#owner)
  }

  // Between the grant and this, other code may have closed the limiter, which gave the lease back, or
  // aborted.
  #leaseOf(hold, signal, trace, isWithin) {
    if (this.#owner.closed) {
      bridge.holds.delete(hold.n)
      throw new ClosedError()
    }
    if (isAborted(signal)) {
      hold.release()
      throw reasonOf(signal)
    }
    hold.isTold = true
    const lease = new Lease(hold, this.#leaseId(hold))
    if (trace !== null) traces.granted(trace, lease, hold, isWithin)
    return lease
  }

  async #question(op, ...values) {
    this.#checkOpen()
    return bridge.ask(op, this.#client, ...values)
  }

  #checkOpen() {
    if (this.#owner.closed) throw new ClosedError()
  }

  #leaseId(hold) {
    // No other process knows it, and `release` doesn't find it by id.
    if (hold.isStandIn) return `local-${hold.number}`
    return `${this.#entry.session}-${hold.number}`
  }

  #tellLoss(hold) {
    // Not for leases that `close` itself gave back.
    if (this.#owner.closed) return
    const { key, error } = hold
    this.#tell('lost', { key, leaseId: this.#leaseId(hold), slot: error.slot, why: error.why, error })
  }

  // In a turn of its own: an exception in a listener must not stop the caller.
  #tell(event, detail) {
    nextTick(() => {
      this.emit(event, detail)
      if (channels[event].hasSubscribers) channels[event].publish({ limiter: this, ...detail })
    })
  }
}

Object.defineProperty(Limiter.prototype, IS_LIMITER, { value: true })

function enter(limiter, settings, releaseOn, listeners) {
  try {
    return register.enter(limiter, settings, releaseOn, listeners)
  } catch (error) {
    const [word, ...lines] = error.message.split('\n')
    throw word === 'ERR_CONFIG' ? configErrorFrom(lines.join('\n')) : error
  }
}

module.exports = { Limiter }
