'use strict'

// Which requests an AbortSignal takes out of the line. However many wait on one signal, it has one listener: from the
// first of them until the last is settled. One signal may live as long as the process and serve every request in it.

const watches = new WeakMap() // signal → { requests, leave }, while requests wait on it
const ONCE = { once: true }

/** From now on an abort calls `request.cancel()`, in the order in which requests came. */
function attend(signal, request) {
  let watch = watches.get(signal)
  if (watch === undefined) {
    watch = { requests: new Set(), leave: () => leave(signal) }
    watches.set(signal, watch)
    signal.addEventListener('abort', watch.leave, ONCE)
  }
  watch.requests.add(request)
}

/** The request is settled. */
function quit(signal, request) {
  const watch = watches.get(signal)
  if (watch === undefined) return
  watch.requests.delete(request)
  if (watch.requests.size > 0) return
  watches.delete(signal)
  signal.removeEventListener('abort', watch.leave)
}

function leave(signal) {
  const { requests } = watches.get(signal)
  // First, so that requests which are settled now don't take themselves out one by one.
  watches.delete(signal)
  for (const request of requests) request.cancel()
}

module.exports = { attend, quit }
