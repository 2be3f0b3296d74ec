'use strict'

// A held lease, as its user sees it; its Hold does the work. Also here: a lease that was garbage-collected without a
// release is noticed. It stays held, since work under it may still run, and the user is told. A FinalizationRegistry is
// expensive for the many leases that live for milliseconds, so a young lease is kept alive by a reference instead.

const bridge = require('./bridge.js')
const { setTimeout } = require('./timers.js')
const { warnOfForgotten } = require('./warnings.js')

const YOUNG_MS = 1000

let sweepIsDue = false

const collected = new FinalizationRegistry((hold) => {
  if (bridge.holds.get(hold.n) !== hold) return
  hold.forget()
  if (!hold.isForgotten) return
  bridge.forgot(hold.client)
  warnOfForgotten(hold.key)
})

function watch(hold, lease) {
  hold.lease = lease
  if (sweepIsDue) return
  sweepIsDue = true
  setTimeout(sweepYoung, YOUNG_MS).unref()
}

function sweepYoung() {
  sweepIsDue = false
  for (const hold of bridge.holds.values()) {
    if (hold.lease === null) continue
    collected.register(hold.lease, hold)
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

  // It works alone too, as in `const { release } = lease`, and as long as it is referenced the lease isn't forgotten.
  get release() {
    return () => this.#hold.release()
  }

  async [Symbol.asyncDispose]() {
    await this.#hold.endScope()
  }
}

module.exports = { Lease }
