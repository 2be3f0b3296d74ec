'use strict'

// The instruments of the table in `../metrics/instruments.js`: durations are recorded when they end, all else is looked
// up when it's collected.

const bridge = require('../bridge.js')
const { BOUNDS, attributes, counts, instruments, nothing, states } = require('../metrics/instruments.js')
const { nobody, usage } = require('../metrics/usage.js')
const register = require('../register.js')

/** The listeners for the channels `acquire` and `hold`; `stop()` ends the looking up. */
function metricListeners(meter, groups) {
  const make = (kind, id, more) => {
    const { name, unit, description } = instruments[id]
    return meter[`create${kind}`](name, { unit, description, ...more })
  }
  const durations = { advice: { explicitBucketBoundaries: BOUNDS } }
  const acquireDuration = make('Histogram', 'acquireDuration', durations)
  const leaseDuration = make('Histogram', 'leaseDuration', durations)
  const leasesLost = make('Counter', 'leasesLost')
  const slotLimit = make('ObservableGauge', 'slotLimit')
  const slotUsage = make('ObservableUpDownCounter', 'slotUsage')
  const waiting = make('ObservableUpDownCounter', 'waiting')
  const oldestWait = make('ObservableGauge', 'oldestWait')
  const handoffs = make('ObservableCounter', 'handoffs')
  const slotsKept = make('ObservableCounter', 'slotsKept')
  const redisCalls = make('ObservableCounter', 'redisCalls')
  const reconnects = make('ObservableCounter', 'reconnects')

  const limits = new Map() // group → limit, as asked last
  const totals = new Totals()

  function lookUp(result) {
    const now = usage(groups)
    for (const [group, { limit }] of now) limits.set(group, limit)
    for (const [group, limit] of limits) {
      const found = now.get(group) ?? nobody()
      const of = { [attributes.group]: group }
      result.observe(slotLimit, limit, of)
      for (const [state, slots] of Object.entries(states(found))) {
        result.observe(slotUsage, slots, { ...of, [attributes.state]: state })
      }
      result.observe(waiting, found.waiting, of)
      result.observe(oldestWait, found.oldestWait, of)
    }
  }

  async function count(result) {
    const all = await totals.read()
    result.observe(redisCalls, all.redisCalls)
    result.observe(reconnects, all.reconnects)
    for (const [kind, value] of Object.entries(all.handoffs)) {
      result.observe(handoffs, value, { [attributes.kind]: kind })
    }
    for (const [outcome, value] of Object.entries(all.slotsKept)) {
      result.observe(slotsKept, value, { [attributes.outcome]: outcome })
    }
  }

  const callbacks = [
    [lookUp, [slotLimit, slotUsage, waiting, oldestWait]],
    [count, [handoffs, slotsKept, redisCalls, reconnects]],
  ]
  for (const [callback, observed] of callbacks) meter.addBatchObservableCallback(callback, observed)

  return {
    listeners: {
      acquire: {
        asyncEnd: ({ key, limit, outcome, waited }) => {
          const group = groups.of(key)
          limits.set(group, limit)
          acquireDuration.record(waited, { [attributes.group]: group, [attributes.result]: outcome })
        },
      },
      hold: {
        asyncEnd: ({ key, outcome, reason, held }) => {
          const of = { [attributes.group]: groups.of(key) }
          leaseDuration.record(held, { ...of, [attributes.outcome]: outcome })
          if (outcome === 'lost') leasesLost.add(1, { ...of, [attributes.reason]: reason })
        },
      },
    },
    stop: () => {
      for (const [callback, observed] of callbacks) meter.removeBatchObservableCallback(callback, observed)
    },
  }
}

/** What all sessions of this thread have counted. Those that have ended count with what they said last. */
class Totals {
  #ended = nothing()
  #last = new Map() // session → its counts

  async read() {
    const open = register.sessions()
    const answers = await Promise.all(
      [...open].map(async ([session, client]) => [session, await bridge.ask('Stats', client)]),
    )
    for (const [session, answer] of answers) {
      if (!(answer instanceof bridge.Refusal)) this.#last.set(session, atLeast(counts(answer), this.#last.get(session)))
    }
    for (const [session, said] of this.#last) {
      if (open.has(session)) continue
      this.#ended = sum(this.#ended, said)
      this.#last.delete(session)
    }
    return [...this.#last.values()].reduce(sum, this.#ended)
  }
}

const merge = (combine) => (one, other) =>
  Object.fromEntries(
    Object.entries(one).map(([name, value]) => [
      name,
      typeof value === 'number' ? combine(value, other[name]) : merge(combine)(value, other[name]),
    ]),
  )
const sum = merge((a, b) => a + b)
const largest = merge(Math.max)
/** What counts up only: a grant by push is counted a moment before the grant itself. */
const atLeast = (now, before) => (before === undefined ? now : largest(now, before))

module.exports = { metricListeners }
