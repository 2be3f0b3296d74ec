'use strict'

// A held lease, as its user sees it; all that it does is done by its Hold. Also here: what becomes of a lease that was
// dropped without release. A lease is held strongly while it is young, so that the many that live for milliseconds don't
// pay for the watch; those that live longer are then handed to a FinalizationRegistry.

const border = require('./border.js')

const YOUNG_MS = 1000

let sweepIsDue = false
let hasWarned = false

const forgotten = new FinalizationRegistry((hold) => {
  if (border.holds.get(hold.n) !== hold) return
  hold.release()
  if (hasWarned) return
  hasWarned = true
  process.emitWarning(
    `A lease of ${JSON.stringify(hold.key)} was garbage-collected without release; it has been released now. ` +
      'Release in a finally block, or use withLimit. Further ones are released without a warning.',
    { type: 'ConcurrencyLimitWarning', code: 'CONCURRENCY_LIMIT_FORGOTTEN_LEASE' },
  )
})

function watch(hold, lease) {
  hold.lease = lease
  if (sweepIsDue) return
  sweepIsDue = true
  setTimeout(sweepYoung, YOUNG_MS).unref()
}

function sweepYoung() {
  sweepIsDue = false
  for (const hold of border.holds.values()) {
    if (hold.lease === null) continue
    forgotten.register(hold.lease, hold)
    hold.lease = null
  }
}

class Lease {
  #hold

  constructor(hold, leaseId) {
    this.#hold = hold
    this.key = hold.key
    this.slot = hold.slots[0]
    this.slots = hold.slots
    this.fencingToken = hold.token
    this.leaseId = leaseId
    this.standIn = hold.isStandIn
    this.waited = Math.round(hold.waitedMs) / 1000
    watch(hold, this)
  }

  get lost() {
    return this.#hold.isLost()
  }

  get signal() {
    return this.#hold.signal()
  }

  release() {
    return this.#hold.release()
  }

  async [Symbol.asyncDispose]() {
    await this.#hold.release()
  }
}

module.exports = { Lease }
