'use strict'

// When what the core calls is done: at once, but not for so long that the event loop stands still; and outside of the
// call, where errors are concerned.

const { nextTick, setImmediate } = require('./timers.js')

const LONGEST_STAY_MS = 5

/**
 * Calls that come while one is dealt with are dealt with in the same stay of the event loop, without end if the core is
 * quick; after a while the rest is put off until the loop has turned. `now` is a clock in milliseconds.
 */
function paced(work, now) {
  let stayBegan = 0 // when the first call came since the event loop has turned
  let isPutOff = false

  function wake() {
    const at = now()
    if (stayBegan === 0) {
      stayBegan = at
      setImmediate(turn).unref()
    }
    if (at - stayBegan < LONGEST_STAY_MS) outside(work)
    else isPutOff = true
  }

  function turn() {
    stayBegan = 0
    if (!isPutOff) return
    isPutOff = false
    wake()
  }

  return wake
}

/** An exception in what the core calls would be one that no caller can catch at its place. */
function outside(work) {
  try {
    work()
  } catch (error) {
    nextTick(() => {
      throw error
    })
  }
}

module.exports = { outside, paced }
