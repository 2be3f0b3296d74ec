// What the rules share: how a lease is told, who was in a slot at once, and what was wrong at a moment.

export const briefly = ({ life, leaseId, token, n, slots, standIn }) =>
  `${life.name}#${n} ${leaseId} slot ${slots.join(',')} token ${token}${standIn ? ' without Redis' : ''}`

function groupBy(list, keyOf) {
  const groups = new Map()
  for (const one of list) {
    const key = keyOf(one)
    if (!groups.has(key)) groups.set(key, [])
    groups.get(key).push(one)
  }
  return groups
}

/** The leases of every slot of every group, each list in the order in which they entered. */
export function slotsOf({ leases }) {
  const places = leases.flatMap((lease) => lease.slots.map((slot) => ({ lease, slot })))
  const groups = groupBy(places, ({ lease, slot }) => `${slot} ${lease.key}`)
  return [...groups.values()].map((list) => list.map(({ lease }) => lease))
}

/** Pairs that were inside one slot at once. */
export function* pairs(list) {
  const inside = []
  for (const second of list) {
    for (const first of inside) {
      const to = Math.min(first.good, second.good)
      if (to > second.from) yield { first, second, from: second.from, to }
    }
    inside.push(second)
  }
}

export function troublesNear({ troubles, stops }, worker, at, afterMs) {
  const own = stops.filter((stop) => stop.worker === worker)
  const about = troubles.filter(({ workers }) => workers === undefined || workers.includes(worker))
  return [...own, ...about].filter(({ from, to }) => from <= at && at <= to + afterMs)
}

/** For how much of this span the machine was too busy to carry the network. */
export function busyIn({ troubles }, from, to) {
  const busy = troubles.filter(({ what }) => what === 'a busy machine')
  return busy.reduce((sum, one) => sum + Math.max(0, Math.min(to, one.to) - Math.max(from, one.from)), 0)
}

/** Whether something was wrong for this worker, or had been until shortly before. */
export function wasTroubled(record, worker, from, to) {
  if (from < record.settledAt) return true
  const after = (record.day.connection.settle + (record.day.kind === 'single' ? 2.5 : 5)) * 1_000
  const spans = [
    ...record.troubles.filter((t) => t.workers === undefined || t.workers.includes(worker)),
    ...record.promotions,
  ]
  const stops = record.stops.filter((stop) => stop.worker === worker)
  return [...spans, ...stops].some((span) => span.from <= to && span.to + after >= from)
}
