'use strict'

// Code that asks for a slot under a lease of the same key may wait for itself: the outer lease isn't given back before
// the inner request is answered. It is warned once for each key.
//
// An AsyncLocalStorage tells which leases are around a request. It is only used where it is cheap: before Node.js 24 it
// is made of async hooks and slows down every promise of the process. There the leases are known only up to the first
// `await` of the function that runs under them.

const { AsyncLocalStorage } = require('node:async_hooks')
const { setTimeout } = require('./timers.js')
const { warnOfNesting } = require('./warnings.js')

const LONG_WAIT_MS = 1000

const contexts = typeof AsyncLocalStorage.prototype._enable === 'function' ? null : new AsyncLocalStorage()
let current // without an AsyncLocalStorage: the innermost frame, while its function is called

/** Calls `fn(lease)`; requests that it makes are made under `hold`. */
function runUnder(frame, fn, lease) {
  if (contexts !== null) return contexts.run(frame, fn, lease)
  const outer = current
  current = frame
  try {
    return fn(lease)
  } finally {
    current = outer
  }
}

const innermost = () => (contexts === null ? current : contexts.getStore())

/** A lease that work runs under: `hold`, granted to `terms`. */
function frameOf(session, terms, hold) {
  return { session, terms, hold, outer: innermost() }
}

/** The work under it is over. Its context may live on, and must not keep the lease alive. */
function leave(frame) {
  frame.hold = frame.outer = undefined
}

/** To be called after a request was made; warns if it waits for itself. */
function watch(session, terms, hold) {
  const frame = innermost()
  if (frame === undefined || terms.timeoutMs === 0) return
  const around = heldAround(frame, session, terms)
  if (around === 0) return
  if (around + terms.weight > terms.limit) return warnOfNesting(terms.key, true)
  setTimeout(() => {
    if (hold.isAsking && heldAround(frame, session, terms) > 0) warnOfNesting(terms.key, false)
  }, LONG_WAIT_MS).unref()
}

/**
 * How many slots of the key the outer leases hold. A request with the same holder name takes the lease over, so it
 * doesn't wait for that one.
 */
function heldAround(frame, session, { key, holder }) {
  let held = 0
  for (let at = frame; at !== undefined; at = at.outer) {
    if (at.session !== session || at.terms.key !== key || !at.hold?.isHeld) continue
    if (holder !== undefined && at.terms.holder === holder) return 0
    held += at.terms.weight
  }
  return held
}

module.exports = { frameOf, leave, runUnder, watch }
