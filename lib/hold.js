'use strict'

// One acquisition as this process knows it, from the request to the release: the grant, the verdict lost or not (R10),
// the abort signal. The core renews and decides; here its deadline is only compared with the clock, when somebody asks.
// Apart from Lease, so that it's noticed when a user forgets a lease: the Lease is collected, and this still stands.

const bridge = require('./bridge.js')
const { LeaseLostError } = require('./errors.js')
const signals = require('./signals.js')
const { clearTimeout, setTimeout } = require('./timers.js')
const traces = require('./traces.js')

const LONGEST_TIMER_MS = 0x7fffffff

class Hold {
  /**
   * `owner.lost(hold)` is told of a loss; `owner.closed`: the limiter gave everything back or let it go;
   * `owner.isOverTransport`: it uses a client of the user's own.
   */
  constructor(client, { key, limit }, owner) {
    this.client = client
    this.key = key
    this.limit = limit
    this.owner = owner
    this.n = 0
    this.askedAt = 0 // on the clock of `deadline`, if somebody listens: see metrics/usage.js
    this.token = 0
    this.deadline = 0
    this.waitedMs = 0
    this.terms = null // while the request waits
    this.passedMs = 0 // what requests before this one have taken: see replaceExpired
    this.number = 0
    this.isStandIn = false // granted without Redis
    this.slots = null
    this.answer = null // resolves the one promise that is outstanding
    this.given = null // the promise of the release, once there is one
    this.error = null // LeaseLostError, once lost; for good
    this.controller = null
    this.timer = null
    this.isTold = false // a Lease was made of it
    this.isForgotten = false // nobody can release it any more
    this.lease = null // while the lease is young: see lease.js
    this.trace = null // while it's held and somebody listens: see traces.js
  }

  /** Resolves with null when granted, else with the refusal. */
  ask(terms) {
    this.terms = terms
    return new Promise((resolve, reject) => {
      this.answer = resolve
      this.n = bridge.acquire(this.client, terms, this)
      if (terms.signal === undefined) return
      // After the request has its number: a signal may abort while it's being listened to.
      try {
        signals.attend(terms.signal, this)
      } catch (error) {
        reject(error)
        this.cancel()
      }
    })
  }

  /** Whether it still waits for the answer to its request. */
  get isAsking() {
    return this.terms !== null
  }

  /** Whether its slot is held, as far as is known: granted, and neither lost nor given back. */
  get isHeld() {
    return this.slots !== null && this.error === null && this.given === null
  }

  /**
   * Gives back a grant whose lease ended before this thread ran, and makes a new request for the same asker. Its
   * time-out is what is left without the time that the first one waited (`takenMs`).
   */
  replaceExpired(n, takenMs) {
    bridge.giveBack(this.client, n)
    this.passedMs += takenMs
    const { timeoutMs } = this.terms
    const restMs = timeoutMs < 0 ? timeoutMs : Math.max(0, Math.round(timeoutMs - this.passedMs))
    this.n = bridge.acquire(this.client, { ...this.terms, timeoutMs: restMs }, this)
  }

  /** Leaves the line. */
  cancel() {
    bridge.cancel(this.client, this.n)
  }

  /** `now` is a moment of this turn, on the clock of `deadline`. */
  granted(n, token, deadline, waitedMs, number, isStandIn, slots, now) {
    // The process stood still until the lease had ended, after the core was told of the grant but before this thread
    // was.
    const isOver = now > deadline && now > bridge.deadlineOf(this.client, n)
    if (isOver && !this.owner.closed) return this.replaceExpired(n, waitedMs + now - deadline)
    this.token = token
    this.deadline = deadline
    this.waitedMs = this.passedMs + waitedMs
    this.number = number
    this.isStandIn = isStandIn
    this.slots = slots
    bridge.holds.set(n, this)
    this.answered(null)
  }

  /** The refusal; after the release, whether the lease was given back. */
  settle(answer) {
    if (this.given === null) this.answered(answer)
    else this.answer(answer === true && this.error === null)
  }

  answered(answer) {
    const { signal } = this.terms
    this.terms = null
    if (signal !== undefined) signals.quit(signal, this)
    this.answer(answer)
  }

  /** Whether the lease is lost, by this machine's clock, now. A lease that was released keeps the verdict of then. */
  isLost() {
    if (this.error !== null || this.given !== null) return this.error !== null
    if (bridge.now() <= this.deadline) return false
    // Renewals move the deadline without a word to this side, so the core is asked before the verdict.
    this.deadline = bridge.deadlineOf(this.client, this.n)
    if (bridge.now() <= this.deadline) return false
    this.lost('its end passed before a renewal was confirmed')
    return true
  }

  /** The verdict, once: from the core, from the clock, or from close. */
  lost(why) {
    if (this.error !== null || this.given !== null) return
    this.error = new LeaseLostError(this.key, this.slots[0], why)
    clearTimeout(this.timer)
    if (this.trace !== null) traces.over(this, 'lost')
    this.controller?.abort(this.error)
    this.owner.lost(this)
    if (this.isForgotten) this.release()
  }

  /**
   * Its user can't reach it any more. It stays held, since work under it may still run; only what is lost anyway is
   * cleared away, now or when it is lost.
   */
  forget() {
    if (this.isLost()) this.release()
    else this.isForgotten = true
  }

  /** A signal that is aborted when the lease is lost; checked before it is handed out. */
  signal() {
    const isLost = this.isLost()
    if (this.controller === null) {
      this.controller = new AbortController()
      if (isLost) this.controller.abort(this.error)
      else if (this.given === null) this.watchDeadline()
    }
    return this.controller.signal
  }

  // A process that was stopped runs its due timers before anything else: so the signal is aborted in its first turn.
  watchDeadline() {
    const wait = Math.min(Math.max(this.deadline - bridge.now(), 0) + 1, LONGEST_TIMER_MS)
    this.timer = setTimeout(() => this.isLost() || this.watchDeadline(), wait).unref()
  }

  /** Gives the lease back; true if it was still held. Never rejects: what can't be given back ends by itself. */
  release(isAwaited = true) {
    if (this.given !== null) return this.given
    this.isLost() // the last verdict
    clearTimeout(this.timer)
    bridge.holds.delete(this.n)
    this.given = this.owner.closed ? Promise.resolve(false) : this.giveBack(isAwaited)
    if (this.trace === null) return this.given
    if (isAwaited) this.given = traces.untilGiven(this)
    else traces.over(this, 'released')
    return this.given
  }

  /**
   * The scope of the lease has ended. The release isn't waited for: the core sends it and repeats it until it is
   * answered, calls of a session stay in order, and the process waits for it at exit. Over a client of the user's own
   * nothing can be sent at exit, so there the release is waited for here.
   */
  endScope() {
    const isAwaited = this.owner.isOverTransport
    const given = this.release(isAwaited)
    return isAwaited ? given : undefined
  }

  giveBack(isAwaited) {
    return new Promise((resolve) => {
      this.answer = resolve
      bridge.release(this.client, this.n, this, isAwaited)
    })
  }
}

module.exports = { Hold }
