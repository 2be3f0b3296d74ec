// The observer of a day. It knows what workers wrote and what went wrong when, and nothing of Redis or of the limiter. Each
// rule gives what broke it as `{ text, at, of }`: the moment, and the workers whom it's about.
import { allowanceFor, LOADED_MS } from './allowances.mjs'

const MARGIN_MS = 30
const REACHED_AGAIN_MS = 3_000

const briefly = ({ life, leaseId, token, n, slots, standIn }) =>
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
function slotsOf({ leases }) {
  const places = leases.flatMap((lease) => lease.slots.map((slot) => ({ lease, slot })))
  const groups = groupBy(places, ({ lease, slot }) => `${slot} ${lease.key}`)
  return [...groups.values()].map((list) => list.map(({ lease }) => lease))
}

/** Pairs that were inside one slot at once. */
function* pairs(list) {
  const inside = []
  for (const second of list) {
    for (const first of inside) {
      const to = Math.min(first.good, second.good)
      if (to > second.from) yield { first, second, from: second.from, to }
    }
    inside.push(second)
  }
}

const RULES = {
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
        // A grant that was taken over at once may be heard of after the one that took it over.
        if (isBelow && lease.task.holder !== 'shared' && highest.task.holder !== 'shared') {
          yield { text: `${briefly(lease)} after ${briefly(highest)}`, at: lease.from, of: [lease.life.name] }
        }
        if (!highest || lease.token > highest.token) highest = lease
      }
    }
  },

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

  'leases without Redis are for when it cannot be reached': function* (record) {
    for (const lease of record.leases.filter(({ standIn }) => standIn)) {
      const { onUnavailable = 'reject' } = record.day.connection
      const near = troublesNear(record, lease.life.name, lease.from, REACHED_AGAIN_MS)
      const isUnreachable = near.some(({ reach }) => reach !== false)
      if (onUnavailable !== 'reject' && (isUnreachable || lease.from < record.settledAt)) continue
      yield { text: briefly(lease), at: lease.from, of: [lease.life.name] }
    }
  },

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

  'a loss is told at once': function* ({ lives }) {
    for (const life of lives) {
      for (const { at, n, ms } of life.lates) {
        if (ms - life.pausedIn(at - ms - 50, at) < LOADED_MS / 2) continue
        yield { text: `${life.name}#${n}: the signal isn't aborted ${Math.round(ms)} ms after`, at, of: [life.name] }
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
}

/** `'allow'` numbers its leases without a limit. */
const mayExceed = ({ standIn }) => standIn

function troublesNear({ troubles, stops }, worker, at, afterMs) {
  const own = stops.filter((stop) => stop.worker === worker)
  const about = troubles.filter(({ workers }) => workers === undefined || workers.includes(worker))
  return [...own, ...about].filter(({ from, to }) => from <= at && at <= to + afterMs)
}

/** For how much of this span the machine was too busy to carry the network. */
function busyIn({ troubles }, from, to) {
  const busy = troubles.filter(({ what }) => what === 'a busy machine')
  return busy.reduce((sum, one) => sum + Math.max(0, Math.min(to, one.to) - Math.max(from, one.from)), 0)
}

/** Whether something was wrong for this worker, or had been until shortly before. */
function wasTroubled(record, worker, from, to) {
  if (from < record.settledAt) return true
  const after = (record.day.connection.settle + (record.day.kind === 'single' ? 2.5 : 5)) * 1_000
  const spans = [
    ...record.troubles.filter((t) => t.workers === undefined || t.workers.includes(worker)),
    ...record.promotions,
  ]
  const stops = record.stops.filter((stop) => stop.worker === worker)
  return [...spans, ...stops].some((span) => span.from <= to && span.to + after >= from)
}

/** What broke which rule: `[{ rule, text, at, of }]`, in the order of their moments. */
export function judge(record) {
  record.allowed = {}
  const wrong = Object.entries(RULES).flatMap(([rule, check]) => [...check(record)].map((one) => ({ rule, ...one })))
  return wrong.sort((one, other) => one.at - other.at)
}
