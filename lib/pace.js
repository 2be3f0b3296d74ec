'use strict'

// When answers are dealt with: at once, but not for so long that the event loop stands still; and outside of the call,
// where errors are concerned.

const { nextTick, setImmediate } = require('./timers.js')

const LONGEST_STAY_MS = 5

/**
 * Answers lead to requests and these to answers in the same stay of the event loop, without end if all are quick; after
 * a while the rest is put off until the loop has turned. `work(at)` deals with some and says whether there are more;
 * `now` is a clock in milliseconds, and so is `at`.
 */
function paced(work, now) {
  let stayBegan = 0 // when the first answers came since the event loop has turned
  let immediate = null
  let isPutOff = false

  function goOn(at) {
    if (isPutOff) return
    if (stayBegan === 0) {
      stayBegan = at
      immediate = setImmediate(turn)
      immediate.unref()
    }
    for (let moment = at; moment - stayBegan < LONGEST_STAY_MS; moment = now()) {
      if (!work(moment)) return
    }
    isPutOff = true
    immediate.ref() // or the loop might sleep before it turns
  }

  function turn() {
    stayBegan = 0
    if (!isPutOff) return
    isPutOff = false
    goOn(now())
  }

  return goOn
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
