// Slots: no two at once, within the limit, tokens that grow.
import { allowanceFor } from '../allowances.mjs'
import { briefly, pairs, slotsOf } from './shared.mjs'

/** `'allow'` numbers its leases without a limit. */
const mayExceed = ({ standIn }) => standIn

export const RULES = {
  'no slot is held twice at once': function* (record) {
    for (const list of slotsOf(record)) {
      for (const pair of pairs(list)) {
        const allowance = allowanceFor(pair, record)
        if (allowance) {
          record.allowed[allowance] = (record.allowed[allowance] ?? 0) + 1
          continue
        }
        const { first, second, from, to } = pair
        const text = `${Math.round(to - from)} ms of ${first.key}: ${briefly(first)} beside ${briefly(second)}`
        yield { text, at: from, of: [first.life.name, second.life.name] }
      }
    }
  },

  'slots are within the limit, as many as the weight': function* ({ leases }) {
    for (const lease of leases) {
      const { limit, weight = 1 } = lease.task.config
      const isRight = lease.slots.length === weight && new Set(lease.slots).size === weight
      if (isRight && lease.slots.every((slot) => slot >= 1 && (slot <= limit || mayExceed(lease)))) continue
      yield { text: `limit ${limit}, weight ${weight}: ${briefly(lease)}`, at: lease.from, of: [lease.life.name] }
    }
  },

  'fencing tokens of a slot grow': function* (record) {
    for (const list of slotsOf(record)) {
      let highest
      for (const lease of list.filter(({ standIn }) => !standIn)) {
        const isBelow = highest && lease.token <= highest.token && lease.from > highest.good
        // A grant that was taken over at once may be heard of after the one that took it over; those of two primaries
        // at once come in any order.
        const isMixed = () => {
          const { from } = lease
          return allowanceFor({ first: highest, second: lease, from, to: from }, record) === 'a failover'
        }
        if (isBelow && lease.task.holder !== 'shared' && highest.task.holder !== 'shared' && !isMixed()) {
          yield { text: `${briefly(lease)} after ${briefly(highest)}`, at: lease.from, of: [lease.life.name] }
        }
        if (!highest || lease.token > highest.token) highest = lease
      }
    }
  },
}
