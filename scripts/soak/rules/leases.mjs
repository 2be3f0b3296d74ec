// The life of a lease: when it begins, how long it's good, when its holder hears of its end.
import { LOADED_MS } from '../allowances.mjs'
import { briefly, troublesNear } from './shared.mjs'

const MARGIN_MS = 30
const TOLD_MS = 450

export const RULES = {
  'nothing new is granted while a server settles': function* (record) {
    if (record.day.kind !== 'single' || record.day.clocks) return
    for (const { startedAt } of record.troubles.filter(({ startedAt }) => startedAt !== undefined)) {
      const settledAt = startedAt + record.day.connection.settle * 1_000
      for (const lease of record.leases) {
        const isNew = lease.life.requests.get(lease.n).at >= startedAt
        if (lease.standIn || !isNew || lease.from >= settledAt) continue
        const early = Math.round(settledAt - lease.from)
        yield { text: `${early} ms too early: ${briefly(lease)}`, at: lease.from, of: [lease.life.name] }
      }
    }
  },

  'a lease that is told is good for a while': function* (record) {
    for (const lease of record.leases) {
      const { limitExpire, renew, limitHold } = lease.task.config
      const isShort = limitExpire < 1 || renew === false || limitHold !== undefined || lease.standIn
      if (isShort || !lease.wasLost || lease.outAt - lease.from >= TOLD_MS || lease.task.holder !== 'none') continue
      // Whoever was only stopped can know; who lost touch with Redis, or Redis its state, hears later.
      const recent = troublesNear(record, lease.life.name, lease.outAt, 10_000)
      if (recent.some(({ what }) => !['stopped', 'a worker hangs'].includes(what))) continue
      if (lease.life.pausedIn(lease.from, lease.outAt) > 0) continue
      const text = `lost ${Math.round(lease.outAt - lease.from)} ms after it was told: ${briefly(lease)}`
      yield { text, at: lease.from, of: [lease.life.name] }
    }
  },

  'what is not renewed ends': function* ({ leases }) {
    for (const lease of leases) {
      const { renew, limitExpire, limitHold } = lease.task.config
      const longest = Math.min(renew === false ? limitExpire : Infinity, limitHold ?? Infinity) * 1_000
      if (lease.standIn || lease.good - lease.from <= longest + MARGIN_MS) continue
      const text = `held ${Math.round(lease.good - lease.from)} ms instead of ${longest}: ${briefly(lease)}`
      yield { text, at: lease.from + longest, of: [lease.life.name] }
    }
  },

  'a loop that stands longer than stallTimeout and the lease has lost it': function* (record) {
    const { stallTimeout } = record.day.connection
    if (stallTimeout === undefined) return
    for (const lease of record.leases) {
      const ends = (stallTimeout * 1.25 + lease.task.config.limitExpire) * 1_000 + LOADED_MS / 2
      const gap = lease.life.gaps.find(({ from, to }) => to - from > ends && lease.from < from && lease.good > to)
      if (gap && !lease.standIn) yield { text: briefly(lease), at: gap.to, of: [lease.life.name] }
    }
  },

  'a loss is told at once': function* ({ lives }) {
    for (const life of lives) {
      for (const { at, n, ms } of life.lates) {
        if (ms - life.pausedIn(at - ms - 50, at) < LOADED_MS / 2) continue
        yield { text: `${life.name}#${n}: the signal isn't aborted ${Math.round(ms)} ms after`, at, of: [life.name] }
      }
    }
  },
}
