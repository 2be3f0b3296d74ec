'use strict'

// The holders of a group, for the error of a request that timed out. They cost one more read, so it is bounded: only
// groups that fit on a page, once a second for a key, so many a second in all, and no error waits longer than that.
// What isn't known by then is left out.

const { setTimeout } = require('./timers.js')

const MOST_TOLD = 3
const MOST_HELD = 100
const FRESH_MS = 1000
const READS_IN_THAT = 20
const LONGEST_MS = 50

class Holders {
  #read
  #now
  #known = new Map() // key → { at, holders }, of the last second; `holders` a promise

  /** `read(key)` gives a Status; `now` is a clock in milliseconds. */
  constructor(read, now) {
    this.#read = read
    this.#now = now
  }

  /** The longest holders, at most three; undefined if they aren't known. `held` and `waiting`: as far as known. */
  async of(key, held = 0, waiting = 0) {
    if (held > MOST_HELD || waiting > MOST_HELD) return undefined
    const now = this.#now()
    for (const [other, { at }] of this.#known) {
      if (now - at < FRESH_MS) break
      this.#known.delete(other)
    }
    let known = this.#known.get(key)
    if (known === undefined) {
      if (this.#known.size >= READS_IN_THAT) return undefined
      known = { at: now, holders: this.#ask(key) }
      this.#known.set(key, known)
    }
    return Promise.race([known.holders, new Promise((resolve) => setTimeout(resolve, LONGEST_MS))])
  }

  async #ask(key) {
    try {
      const { holders } = await this.#read(key)
      return holders.sort((a, b) => a.fencingToken - b.fencingToken).slice(0, MOST_TOLD)
    } catch {
      return undefined
    }
  }
}

module.exports = { Holders }
