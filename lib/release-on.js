'use strict'

// `releaseOn`: slots are given back when a signal would end the process, and then the signal does what it would have
// done. When the program has listeners of its own, it decides when the process ends: then it isn't ended here.
//
// There is one listener per signal for all copies of this package, and only while a limiter asks for it.

const exits = require('./exits.js')
const { setTimeout } = require('./timers.js')

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGBREAK']
const LONGEST_MS = 1000

const ASKED = Symbol.for('concurrency-limit.releaseOn') // on `process`, shared by versions: signal → a Set of works
const asked = () => {
  if (process[ASKED] === undefined) Object.defineProperty(process, ASKED, { value: new Map() })
  return process[ASKED]
}

const busy = new Set() // signals that are being handled

/**
 * From now on each of these signals calls `work.close()`. `work.isOverTransport`: it uses a client of the user's own,
 * so nothing can be given back during an exit.
 */
function add(signals, work) {
  for (const signal of signals) {
    const works = asked().get(signal) ?? new Set()
    asked().set(signal, works.add(work))
    // First, so that listeners which remove themselves (`once`) are still counted.
    if (works.size === 1 && !process.listeners(signal).includes(hear)) process.prependListener(signal, hear)
  }
}

function remove(signals, work) {
  for (const signal of signals) {
    asked().get(signal)?.delete(work)
    if (!busy.has(signal)) rest(signal)
  }
}

function rest(signal) {
  if (asked().get(signal).size === 0) process.off(signal, hear)
}

async function hear(signal) {
  if (busy.has(signal)) return
  busy.add(signal)
  const isAlone = () => process.listenerCount(signal) === 1
  const wasAlone = isAlone()
  // A process that stays alive is told as after a close. One that ends gives back at once, and runs no code after that.
  const works = [...asked().get(signal)].filter(({ isOverTransport }) => isOverTransport || !wasAlone)
  if (works.length > 0) await within(LONGEST_MS, Promise.allSettled(works.map((work) => work.close())))
  busy.delete(signal)
  if (!wasAlone || !isAlone()) return rest(signal)
  exits.run()
  process.off(signal, hear)
  process.kill(process.pid, signal)
}

const within = (ms, promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, ms))])

module.exports = { SIGNALS, add, remove }
