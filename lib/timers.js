'use strict'

// The timers of Node.js, out of reach of a test's fake ones: a fake clock that stands still must not keep an answer
// from who waits, and one that runs all its timers must not run ours without end. They are taken once, when this is
// loaded. By then the clock of jest, sinon or vitest may be in place; each of its functions knows what it stands for.
//
// Microtasks are those of promises, which nobody fakes. What they throw would be a rejection: throw in `nextTick`
// instead.

const timers = require('node:timers')

const SETTLED = Promise.resolve()

function real(name, found) {
  const behind = found.clock?.[`_${name}`]
  return typeof behind === 'function' && behind !== found ? real(name, behind) : found
}

const nextTick = real('nextTick', process.nextTick)

module.exports = {
  clearInterval: real('clearInterval', timers.clearInterval),
  clearTimeout: real('clearTimeout', timers.clearTimeout),
  setImmediate: real('setImmediate', timers.setImmediate),
  setInterval: real('setInterval', timers.setInterval),
  setTimeout: real('setTimeout', timers.setTimeout),
  nextTick: (work) => nextTick.call(process, work),
  microtask: (work) => {
    SETTLED.then(work)
  },
}
