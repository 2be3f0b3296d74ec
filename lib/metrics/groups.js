'use strict'

// The class of a key, which metrics carry instead of the key: keys have customers' names in them and no bound. So many
// classes and no more; what comes after them counts as one other.

const OTHER = '_OTHER'
const MOST_KEYS = 10_000
const LONGEST = 128

const beforeColon = (key) => key.split(':', 1)[0]

class Groups {
  #classify
  #most
  #names = new Set()
  #known = new Map() // key → name, for the keys of late
  #hasWarned = false

  /** `classify(key)` gives the class: by default the part of the key before its first colon. */
  constructor({ group = beforeColon, maxGroups = 100 } = {}) {
    this.#classify = group
    this.#most = maxGroups
  }

  of(key) {
    let name = this.#known.get(key)
    if (name === undefined) {
      name = this.#bounded(this.#named(key))
      if (this.#known.size >= MOST_KEYS) this.#known.clear()
      this.#known.set(key, name)
    }
    return name
  }

  #named(key) {
    try {
      const name = this.#classify(key)
      if (typeof name === 'string' && name !== '') return name.slice(0, LONGEST).toWellFormed()
      this.#warn(`gave ${name === '' ? 'an empty string' : `a value of the type ${typeof name}`}`)
    } catch (error) {
      this.#warn(`threw: ${error?.message}`)
    }
    return OTHER
  }

  #bounded(name) {
    if (name === OTHER || this.#names.has(name)) return name
    if (this.#names.size >= this.#most) return OTHER
    this.#names.add(name)
    return name
  }

  #warn(what) {
    if (this.#hasWarned || this.#classify === beforeColon) return
    this.#hasWarned = true
    process.emitWarning(`The function \`group\` of the metrics ${what}. Such keys count as ${OTHER}.`, {
      type: 'ConcurrencyLimitWarning',
      code: 'CONCURRENCY_LIMIT_GROUP',
    })
  }
}

module.exports = { Groups, OTHER }
