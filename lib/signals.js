'use strict'

// Cancels requests when their AbortSignal aborts. A signal has one listener for all its requests, from the first until
// the last is settled. One signal may live as long as the process and be used for every request.
//
// A signal may be another library's, without `reason` or other members. One without listeners is refused, and what it
// throws never keeps an answer from a request, or a slot from the next waiter.

const { ConfigError } = require('./errors.js')

const EXPECTED = 'an AbortSignal'
const ONCE = { once: true }

const watches = new WeakMap() // signal → { requests, leave }, while requests wait on it

/** Whether a value has the members of an AbortSignal that are needed. */
function isSignal(value) {
  try {
    const isEventTarget =
      typeof value.addEventListener === 'function' && typeof value.removeEventListener === 'function'
    return isEventTarget && typeof value.aborted === 'boolean'
  } catch {
    return false
  }
}

/** From now on an abort calls `request.cancel()`, in the order in which requests came. */
function attend(signal, request) {
  const known = watches.get(signal)
  if (known !== undefined) return known.requests.add(request)
  const requests = new Set([request])
  const watch = { requests, leave: () => leave(signal, watch) }
  watches.set(signal, watch)
  try {
    signal.addEventListener('abort', watch.leave, ONCE)
  } catch (error) {
    watches.delete(signal)
    throw Object.assign(new ConfigError('signal', signal, `${EXPECTED} that can be listened to`), { cause: error })
  }
}

/** The request is settled. */
function quit(signal, request) {
  const watch = watches.get(signal)
  if (watch === undefined) return
  watch.requests.delete(request)
  if (watch.requests.size > 0) return
  watches.delete(signal)
  try {
    signal.removeEventListener('abort', watch.leave)
  } catch {
    // The listener stays, and finds no request.
  }
}

function leave(signal, watch) {
  // First, so that requests which are settled now don't remove themselves one by one.
  if (watches.get(signal) === watch) watches.delete(signal)
  const requests = [...watch.requests]
  watch.requests.clear()
  for (const request of requests) request.cancel()
}

/** Whether a signal is aborted. One that throws counts as aborted. */
function isAborted(signal) {
  try {
    return signal !== undefined && signal.aborted === true
  } catch {
    return true
  }
}

/** The reason that an aborted request rejects with, or an AbortError if the signal has none. */
function reasonOf(signal) {
  let reason
  try {
    reason = signal.reason
  } catch {
    // As if there were no reason.
  }
  return reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason
}

module.exports = { EXPECTED, attend, isAborted, isSignal, quit, reasonOf }
