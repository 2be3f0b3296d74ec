'use strict'

// What is measured: names, units and descriptions of all instruments, in the shape of OpenTelemetry's
// `aspnetcore.rate_limiting.*`. Both ways out, `prometheus.js` here and `../otel/`, take them from this table.

const DESCRIPTIONS = {
  slotLimit: ['slot.limit', '{slot}', 'How many slots of the group may be held, as asked last in this process'],
  slotUsage: ['slot.usage', '{slot}', 'Slots that this process holds'],
  waiting: ['request.waiting', '{request}', 'Requests of this process that wait for a slot'],
  oldestWait: ['request.oldest_wait', 's', 'How long the oldest of the waiting requests of this process has waited'],
  acquireDuration: ['acquire.duration', 's', 'Time from asking for a slot to the answer'],
  leaseDuration: ['lease.duration', 's', 'Time for which a slot was held'],
  leasesLost: ['leases.lost', '{lease}', 'Leases that were lost before they were given back'],
  handoffs: ['handoffs', '{lease}', 'Slots that were got after waiting, by how this process learned of them'],
  slotsKept: ['slots.kept', '{slot}', 'Slots that were kept after their release, by what became of them'],
  redisCalls: ['redis.calls', '{call}', 'Calls sent to Redis; one call carries many requests'],
  reconnects: ['reconnects', '{connection}', 'Connections to Redis after the first'],
}

const instruments = Object.fromEntries(
  Object.entries(DESCRIPTIONS).map(([id, [name, unit, description]]) => [
    id,
    { name: `concurrency_limit.${name}`, unit, description },
  ]),
)

const attributes = {
  group: 'concurrency_limit.group',
  state: 'concurrency_limit.state',
  result: 'concurrency_limit.result',
  outcome: 'concurrency_limit.outcome',
  reason: 'concurrency_limit.reason',
  kind: 'concurrency_limit.kind',
}

/** Upper bounds of the buckets of both durations, in seconds. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]

/** Slots in use, by state. */
const states = ({ held }) => ({ held })

/** What a session has counted, as the counters take it. */
const counts = ({ calls, reconnects, handedOff, passed, grantedAfterWaiting, kept }) => ({
  redisCalls: calls,
  reconnects,
  handoffs: { pushed: handedOff, polled: Math.max(0, grantedAfterWaiting - handedOff - passed), passed },
  slotsKept: { reused: kept.reused, recalled: kept.recalled, unused: kept.unused },
})

/** The counts of a session that has done nothing. */
const nothing = () =>
  counts({
    calls: 0,
    reconnects: 0,
    handedOff: 0,
    passed: 0,
    grantedAfterWaiting: 0,
    kept: { reused: 0, recalled: 0, unused: 0 },
  })

module.exports = { BOUNDS, attributes, counts, instruments, nothing, states }
