'use strict'

// Which requests an AbortSignal takes out of the line. However many wait on one signal, it has one listener: from the
// first of them until the last is settled. One signal may live as long as the process and serve every request in it.
//
// A signal may be one of a library's own, older than `reason` or short of a part. One that can't be listened to is
// refused, and nothing that it throws keeps an answer from who waits, or a slot from who is next.

const { ConfigError } = require('./errors.js')

const EXPECTED = 'an AbortSignal'
const ONCE = { once: true }

const watches = new WeakMap() // signal → { requests, leave }, while requests wait on it

/** Whether a value has what is needed of an AbortSignal. */
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
    // The listener stays, and finds nobody.
  }
}

function leave(signal, watch) {
  // First, so that requests which are settled now don't take themselves out one by one.
  if (watches.get(signal) === watch) watches.delete(signal)
  const requests = [...watch.requests]
  watch.requests.clear()
  for (const request of requests) request.cancel()
}

/** Whether a signal is aborted; one that no longer says so is not asked again. */
function isAborted(signal) {
  try {
    return signal !== undefined && signal.aborted === true
  } catch {
    return true
  }
}

/** What an aborted request rejects with: the reason, or an AbortError where the signal has none. */
function reasonOf(signal) {
  let reason
  try {
    reason = signal.reason
  } catch {
    // As if there were none.
  }
  return reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason
}

module.exports = { EXPECTED, attend, isAborted, isSignal, quit, reasonOf }
