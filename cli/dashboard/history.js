'use strict'

// The figures of each group at the last readings, for the page's lines. Kept in memory while the dashboard runs.

class History {
  #most
  #byKey = new Map() // key → { held, waiting }, lists of one figure per look, the newest last

  constructor(most) {
    this.#most = most
  }

  /** Takes the figures of one look; a group that isn't there any more is forgotten. */
  add(groups) {
    const next = new Map()
    for (const { key, held, waiting, error } of groups) {
      if (error !== undefined) continue
      const known = this.#byKey.get(key) ?? { held: [], waiting: [] }
      known.held = [...known.held, held].slice(-this.#most)
      known.waiting = [...known.waiting, waiting].slice(-this.#most)
      next.set(key, known)
    }
    this.#byKey = next
  }

  of(key) {
    return this.#byKey.get(key) ?? { held: [], waiting: [] }
  }
}

module.exports = { History }
