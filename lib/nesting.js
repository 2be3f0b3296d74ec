'use strict'

// Who asks for a slot under a lease of the same key may wait for itself: the leases around it aren't given back before
// it has its answer. It is told, once for each key.
//
// Which leases are around a request, an AsyncLocalStorage knows, but only where that costs next to nothing: where it is
// made of async hooks (Node.js before 24), each promise of the process would pay. There the leases are known up to the
// first `await` of the function that they are for.

const { AsyncLocalStorage } = require('node:async_hooks')
const { setTimeout } = require('./timers.js')
const { warnOfNesting } = require('./warnings.js')

const LONG_WAIT_MS = 1000

const contexts = typeof AsyncLocalStorage.prototype._enable === 'function' ? null : new AsyncLocalStorage()
let current // without contexts: the innermost frame, while its function is called

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

/** A lease that work is done under: `hold`, which has been granted to `terms`. */
function frameOf(session, terms, hold) {
  return { session, terms, hold, outer: innermost() }
}

/** The work under it is done. What it began may live on in its context, and doesn't keep what is over. */
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
 * How many slots of the key the leases around hold. A holder's name moves its slot to whoever asks: that isn't waited
 * for.
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
