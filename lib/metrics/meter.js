'use strict'

// What `limiter.metrics()` has counted of one limiter: it listens to the tracing channels from its first call on. A
// counter that begins with the first scrape loses nothing: a rate needs two.

const { tracingChannel } = require('node:diagnostics_channel')
const { tracingChannels } = require('../traces.js')
const { Groups } = require('./groups.js')
const { BOUNDS, attributes, counts, instruments, states } = require('./instruments.js')
const { nobody, usage } = require('./usage.js')

const meters = new WeakMap() // Limiter → Meter

const listeners = [
  ['acquire', (context) => meters.get(context.limiter)?.acquired(context)],
  ['hold', (context) => meters.get(context.limiter)?.held(context)],
]
let open = 0

/** Counts and sums of one histogram; a bucket counts what is above the bound before it. */
class Histogram {
  buckets = new Array(BOUNDS.length + 1).fill(0)
  sum = 0

  record(value) {
    let at = 0
    while (at < BOUNDS.length && value > BOUNDS[at]) at++
    this.buckets[at]++
    this.sum += value
  }
}

/** One family of histograms or counters, by the values of its attributes. */
class Series {
  #made = new Map()
  #make

  constructor(make) {
    this.#make = make
  }

  at(group, name, value) {
    const id = `${value}\0${group}`
    let found = this.#made.get(id)
    if (found === undefined) {
      found = { attributes: { [attributes.group]: group, [name]: value }, value: this.#make() }
      this.#made.set(id, found)
    }
    return found
  }

  values() {
    return [...this.#made.values()]
  }
}

class Meter {
  #groups
  #limits = new Map() // group → limit, as asked last
  #acquires = new Series(() => new Histogram())
  #leases = new Series(() => new Histogram())
  #lost = new Series(() => 0)

  constructor(options) {
    this.#groups = new Groups(options)
  }

  acquired({ key, limit, outcome, waited }) {
    const group = this.#groups.of(key)
    this.#limits.set(group, limit)
    this.#acquires.at(group, attributes.result, outcome).value.record(waited)
  }

  held({ key, outcome, reason, held }) {
    const group = this.#groups.of(key)
    this.#leases.at(group, attributes.outcome, outcome).value.record(held)
    if (outcome === 'lost') this.#lost.at(group, attributes.reason, reason).value++
  }

  /** All families: `{ name, unit, description, type, samples: [{ attributes, value }] }`. */
  collect(stats, concerns) {
    const now = usage(this.#groups, concerns)
    for (const [group, { limit }] of now) this.#limits.set(group, limit)
    const groups = [...this.#limits].map(([group, limit]) => ({ ...(now.get(group) ?? nobody()), group, limit }))
    const each = (value) => groups.map((one) => ({ attributes: { [attributes.group]: one.group }, value: value(one) }))
    const byState = groups.flatMap((one) =>
      Object.entries(states(one)).map(([state, value]) => ({
        attributes: { [attributes.group]: one.group, [attributes.state]: state },
        value,
      })),
    )
    const { redisCalls, reconnects, handoffs, slotsKept } = counts(stats)
    return [
      family(
        'slotLimit',
        'gauge',
        each(({ limit }) => limit),
      ),
      family('slotUsage', 'gauge', byState),
      family(
        'waiting',
        'gauge',
        each(({ waiting }) => waiting),
      ),
      family(
        'oldestWait',
        'gauge',
        each(({ oldestWait }) => oldestWait),
      ),
      family('acquireDuration', 'histogram', this.#acquires.values()),
      family('leaseDuration', 'histogram', this.#leases.values()),
      family('leasesLost', 'counter', this.#lost.values()),
      family('handoffs', 'counter', byAttribute(attributes.kind, handoffs)),
      family('slotsKept', 'counter', byAttribute(attributes.outcome, slotsKept)),
      family('redisCalls', 'counter', [{ attributes: {}, value: redisCalls }]),
      family('reconnects', 'counter', [{ attributes: {}, value: reconnects }]),
    ]
  }
}

/** A sample for each value of an attribute. */
const byAttribute = (name, counted) =>
  Object.entries(counted).map(([of, value]) => ({ attributes: { [name]: of }, value }))

const family = (id, type, samples) => ({ ...instruments[id], type, samples })

/** The meter of a limiter, made at first use; its options count then. */
function meterOf(limiter, options) {
  let meter = meters.get(limiter)
  if (meter === undefined) {
    meter = new Meter(options)
    meters.set(limiter, meter)
    if (open++ === 0) for (const [name, hear] of listeners) channelOf(name).subscribe(hear)
  }
  return meter
}

/** The limiter is closed. */
function forget(limiter) {
  if (!meters.delete(limiter)) return
  if (--open === 0) for (const [name, hear] of listeners) channelOf(name).unsubscribe(hear)
}

const channelOf = (name) => tracingChannel(tracingChannels[name]).asyncEnd

module.exports = { forget, meterOf }
