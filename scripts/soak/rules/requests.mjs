// Requests: settled within their own time, and refused only with a cause.
import { LOADED_MS } from '../allowances.mjs'
import { briefly, busyIn, wasTroubled } from './shared.mjs'

export const RULES = {
  'every request settles within its own time': function* (record) {
    const { commandTimeout } = record.day.connection
    for (const request of record.requests) {
      const { life, at, n } = request
      const end = request.settledAt ?? life.killedAt ?? record.finishedAt
      const own = (request.limitTimeout + commandTimeout) * 1_000
      const allowed = own + LOADED_MS + life.pausedIn(at, end) + busyIn(record, at, end)
      if (end - at <= allowed) continue
      const took = `${request.outcome ?? 'not settled'} after ${Math.round(end - at)} ms, own time ${own} ms`
      yield { text: `${life.name}#${n} ${took}, ${request.message ?? ''}`, at: at + own, of: [life.name] }
    }
  },

  'an aborted request settles at once': function* (record) {
    for (const { life, n, abortedAt, settledAt, outcome } of record.requests) {
      if (abortedAt === undefined) continue
      const end = settledAt ?? life.killedAt ?? record.finishedAt
      if (end - abortedAt <= LOADED_MS / 2 + life.pausedIn(abortedAt, end) + busyIn(record, abortedAt, end)) continue
      yield {
        text: `${life.name}#${n} ${outcome} ${Math.round(end - abortedAt)} ms after`,
        at: abortedAt,
        of: [life.name],
      }
    }
  },

  'nothing is lost or refused for no reason': function* (record) {
    for (const request of record.requests) {
      const { life, at, settledAt, outcome, message } = request
      if (outcome !== 'ERR_UNAVAILABLE' || wasTroubled(record, life.name, at, settledAt)) continue
      if (life.pausedIn(at, settledAt) > 200) continue
      yield { text: `${life.name}#${request.n} ${message}`, at: settledAt, of: [life.name] }
    }
    for (const lease of record.leases) {
      const { renew, limitHold, limitExpire } = lease.task.config
      const ends = renew === false || limitHold !== undefined || lease.task.holder === 'shared'
      if (!lease.wasLost || ends || lease.standIn || limitExpire < 1) continue
      if (wasTroubled(record, lease.life.name, lease.from, lease.outAt)) continue
      if (lease.life.pausedIn(lease.from, lease.outAt) > (limitExpire * 1_000) / 3) continue
      yield { text: `lost: ${briefly(lease)}`, at: lease.outAt, of: [lease.life.name] }
    }
  },

  'no other error': function* ({ requests, lives }) {
    const known = [
      'granted',
      'full',
      'aborted',
      'ERR_LIMIT_EXCEEDED',
      'ERR_UNAVAILABLE',
      'ERR_QUEUE_FULL',
      'ERR_CLOSED',
    ]
    for (const { life, n, outcome = 'granted', message, settledAt } of requests) {
      if (!known.includes(outcome))
        yield { text: `${life.name}#${n} ${outcome}: ${message}`, at: settledAt, of: [life.name] }
    }
    for (const life of lives) {
      const unmeant = life.warnings.filter(({ text }) => !/ConcurrencyLimitWarning|ExperimentalWarning/.test(text))
      for (const { at, text } of unmeant) yield { text: `${life.name}: ${text}`, at, of: [life.name] }
    }
  },

  'every group is served while nothing is wrong': function* (record) {
    const { calmAt, loadEndsAt } = record
    for (const { key } of record.day.groups) {
      const asking = record.requests.filter(({ task, limitTimeout }) => task.config.key === key && limitTimeout >= 1)
      const isAsked = asking.some(({ at, settledAt = Infinity }) => at < loadEndsAt && settledAt > calmAt + 3_000)
      const isServed = record.leases.some((lease) => lease.key === key && lease.good >= calmAt)
      if (isAsked && !isServed)
        yield { text: `${key}: nobody was inside in ${Math.round(loadEndsAt - calmAt)} ms`, at: calmAt, of: [] }
    }
  },

  'a limiter closes within its time': function* (record) {
    const { troubles, lives, day } = record
    for (const { what, from, to, workers } of troubles) {
      if (what !== 'a limiter closed' || lives.some(({ killedAt, name }) => name === workers[0] && killedAt < to))
        continue
      const paused = lives
        .filter(({ name }) => name === workers[0])
        .reduce((sum, life) => sum + life.pausedIn(from, to), 0)
      if (to - from <= day.connection.commandTimeout * 1_000 + 2 * LOADED_MS + paused + busyIn(record, from, to))
        continue
      yield { text: `${workers[0]}: ${Math.round(to - from)} ms`, at: from, of: workers }
    }
  },
}
