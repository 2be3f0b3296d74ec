'use strict'

// The timers of Node.js, out of reach of a test's fake ones: a fake clock that stands still must not keep an answer
// from who waits, and one that runs all its timers must not run ours without end. They are taken once, when this is
// loaded. By then a fake clock may be in place. The functions of sinon's (jest and vitest have it, too) know what they
// stand for; those of `node:test` don't, so others are made here of what has timers inside and isn't faked.
//
// Microtasks are those of promises, which nobody fakes. What they throw would be a rejection: throw in `nextTick`
// instead.

const timers = require('node:timers')

const SETTLED = Promise.resolve()

/**
 * A timer that keeps the process alive only after `ref()`. A socket has one of its own, also before it is connected.
 */
class SocketTimer {
  #socket
  #anchor = null

  constructor(work, ms, repeats) {
    const { Socket } = require('node:net')
    this.#socket = new Socket().setTimeout(ms).on('timeout', () => {
      if (repeats) this.#socket.setTimeout(ms)
      else this.clear()
      work()
    })
  }

  ref() {
    this.#anchor ??= newChannel().port1
    this.#anchor.ref()
    return this
  }

  unref() {
    this.#anchor?.unref()
    return this
  }

  clear() {
    this.#socket.destroy()
    this.#anchor?.close()
  }
}

/** A message arrives when the event loop has turned. */
function afterTurn(work) {
  const { port1, port2 } = newChannel()
  port1.once('message', () => {
    port1.close()
    work()
  })
  port2.postMessage(null)
  return port1
}

function newChannel() {
  const { MessageChannel } = require('node:worker_threads')
  return new MessageChannel()
}

function behind(name, found) {
  const its = found.clock?.[`_${name}`]
  return typeof its === 'function' && its !== found ? behind(name, its) : found
}

/** The real function of this name; `otherwise` where a fake stands in its place and doesn't know it. */
function real(name, otherwise) {
  const found = behind(name, timers[name])
  return found.name === name ? found : otherwise
}

const clear = (timer) => timer?.clear()
const nextTick = behind('nextTick', process.nextTick)

module.exports = {
  clearInterval: real('clearInterval', clear),
  clearTimeout: real('clearTimeout', clear),
  setImmediate: real('setImmediate', afterTurn),
  setInterval: real('setInterval', (work, ms) => new SocketTimer(work, ms, true)),
  setTimeout: real('setTimeout', (work, ms) => new SocketTimer(work, ms, false)),
  nextTick: (work) => nextTick.call(process, work),
  microtask: (work) => {
    SETTLED.then(work)
  },
}
