// Leases without Redis: when there may be any, and what `'local'` promises for them.
import { LOADED_MS } from '../allowances.mjs'
import { briefly, pairs, slotsOf, troublesNear } from './shared.mjs'

const REACHED_AGAIN_MS = 3_000

export const RULES = {
  "'local' keeps the limit inside a process": function* (record) {
    if (record.day.connection.onUnavailable !== 'local') return
    for (const list of slotsOf(record)) {
      for (const { first, second, from, to } of pairs(list)) {
        if (first.life !== second.life || !second.standIn) continue
        if (first.task === second.task && first.task.holder !== 'none') continue
        yield {
          text: `${Math.round(to - from)} ms: ${briefly(first)} beside ${briefly(second)}`,
          at: from,
          of: [first.life.name],
        }
      }
    }
  },

  "'local' gives a slot that is free": function* (record) {
    const { onUnavailable, unavailableTimeout } = record.day.connection
    if (onUnavailable !== 'local' || record.day.kind !== 'single') return
    for (const { from, to } of record.troubles.filter(({ what }) => what === 'a server killed')) {
      // Connecting is refused at once meanwhile.
      const end = Math.min(to, from + unavailableTimeout * 1_000)
      for (const request of record.requests) {
        const { life, at, settledAt = Number.POSITIVE_INFINITY, task } = request
        const span = { from: Math.max(at, from + LOADED_MS), to: Math.min(settledAt, end) }
        if (span.to - span.from < LOADED_MS + life.pausedIn(span.from, span.to)) continue
        const isInside = ({ key, good, from }) => key === task.config.key && from < span.to && good > span.from
        if (record.leases.some((lease) => lease.life === life && isInside(lease))) continue
        const text = `${life.name}#${request.n} waits for ${task.config.key}, in which its process has nobody`
        yield { text, at: span.from, of: [life.name] }
      }
    }
  },

  'leases without Redis are for when it cannot be reached': function* (record) {
    for (const lease of record.leases.filter(({ standIn }) => standIn)) {
      const { onUnavailable = 'reject' } = record.day.connection
      const near = troublesNear(record, lease.life.name, lease.from, REACHED_AGAIN_MS)
      const isUnreachable = near.some(({ reach }) => reach !== false)
      if (onUnavailable !== 'reject' && (isUnreachable || lease.from < record.settledAt)) continue
      yield { text: briefly(lease), at: lease.from, of: [lease.life.name] }
    }
  },
}
