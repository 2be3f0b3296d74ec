'use strict'

// The state of the screen of `watch`, and what each key changes. Pure: `press` returns what the caller has to do, if
// anything: 'quit', 'interrupt', 'suspend', or { release }.

const SORTS = {
  key: (a, b) => (a.key < b.key ? -1 : 1),
  use: (a, b) => b.held / (b.limit || 1) - a.held / (a.limit || 1),
  held: (a, b) => b.held - a.held,
  waiting: (a, b) => b.waiting - a.waiting,
  'longest wait': (a, b) => (b.oldestWait ?? -1) - (a.oldestWait ?? -1),
}
const SORT_NAMES = Object.keys(SORTS)

class State {
  groups = []
  sort = 'key'
  filter = ''
  isFiltering = false
  /** The key under the cursor, the key whose group is open, the lease under the cursor there, the lease in question. */
  selected = null
  open = null
  lease = null
  asked = null
  message = ''

  /** The groups that the filter leaves, in order. */
  get shown() {
    const word = this.filter.toLowerCase()
    const groups = this.groups.filter(({ key }) => key.toLowerCase().includes(word))
    return groups.sort((a, b) => SORTS[this.sort](a, b) || SORTS.key(a, b))
  }

  get opened() {
    return this.open === null ? undefined : this.groups.find(({ key }) => key === this.open)
  }

  get holders() {
    return this.opened?.holders ?? []
  }

  /** New figures; a cursor on what has gone goes to the first. */
  update(groups) {
    this.groups = groups
    if (this.asked !== null && !this.holders.some(({ leaseId }) => leaseId === this.asked)) {
      this.asked = null
      this.message = 'that lease has ended meanwhile'
    }
  }

  press({ name, sequence = '', ctrl }) {
    if (ctrl && name === 'c') return 'interrupt'
    if (ctrl && name === 'z') return 'suspend'
    this.message = ''
    if (this.asked !== null) return this.#answer(name)
    if (this.isFiltering) return this.#type(name, sequence, ctrl)
    if (this.open !== null) return this.#pressOpen(name)
    return this.#pressList(name, sequence)
  }

  #answer(name) {
    const leaseId = this.asked
    this.asked = null
    return name === 'y' ? { release: { key: this.open, leaseId } } : undefined
  }

  #type(name, sequence, ctrl) {
    if (name === 'return' || name === 'enter') this.isFiltering = false
    else if (name === 'escape') [this.isFiltering, this.filter] = [false, '']
    else if (name === 'backspace') this.filter = [...this.filter].slice(0, -1).join('')
    else if (!ctrl && sequence !== '' && !/\p{Cc}/u.test(sequence)) this.filter += sequence
    return undefined
  }

  #pressOpen(name) {
    const leases = this.holders.map(({ leaseId }) => leaseId)
    if (name === 'escape' || name === 'left' || name === 'backspace') this.open = this.lease = null
    else if (name === 'q') return 'quit'
    else if (name === 'x') this.asked = leases.length > 0 ? (moved(leases, this.lease, 0) ?? null) : null
    else this.lease = moved(leases, this.lease, STEPS[name] ?? 0) ?? null
    return undefined
  }

  #pressList(name, sequence) {
    const keys = this.shown.map(({ key }) => key)
    if (name === 'q') return 'quit'
    if (sequence === '/') this.isFiltering = true
    else if (name === 'escape') this.filter = ''
    else if (name === 's') this.sort = SORT_NAMES[(SORT_NAMES.indexOf(this.sort) + 1) % SORT_NAMES.length]
    else if (name === 'return' || name === 'enter' || name === 'right')
      this.open = moved(keys, this.selected, 0) ?? null
    else this.selected = moved(keys, this.selected, STEPS[name] ?? 0) ?? null
    return undefined
  }
}

const STEPS = { up: -1, k: -1, down: 1, j: 1, pageup: -10, pagedown: 10, home: -Infinity, end: Infinity }

/** What is `step` places from `from` in a list, or its first; undefined in an empty one. */
function moved(list, from, step) {
  const at = Math.max(0, list.indexOf(from))
  return list[Math.min(Math.max(0, at + step), list.length - 1)]
}

module.exports = { State, moved }
