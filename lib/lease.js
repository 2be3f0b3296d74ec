'use strict'

// A held lease, as its user sees it; all that it does is done by its Hold. Also here: noticing a lease that was dropped
// without release. It stays held, since work under it may still run; its user is told. A lease is kept alive while it
// is young, so that the many that live for milliseconds don't pay for the watch; those that live longer are then handed
// to a FinalizationRegistry.

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

  // Works taken by itself, too, as in `const { release } = lease`. It keeps the lease from counting as forgotten.
  get release() {
    return () => this.#hold.release()
  }

  async [Symbol.asyncDispose]() {
    await this.#hold.endScope()
  }
}

module.exports = { Lease }
