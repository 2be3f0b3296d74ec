// When two may be inside one slot at once: each case with the sentence of docs/operations.md that says so, and for how
// long. Whatever none of these allows is a fault of the limiter.
//
// A pair is `{ first, second, from, to }`: two leases of one slot, the second entered at `from` while the first was
// inside, and both were until `to`. All in ms.

/** What a loaded machine may add to a bound. */
export const LOADED_MS = 1_000
/** "At most a second after the sentinels agree", or after the members of a cluster do. */
const FOLLOW_MS = 1_000

const leaseOf = ({ task }) => task.config.limitExpire * 1_000

/** A third of the lease later its holder has asked; a call that isn't answered is given up after commandTimeout. */
function renewalAfter(at, pair, { day }) {
  const lease = Math.max(leaseOf(pair.first), leaseOf(pair.second))
  return at + lease / 3 + day.connection.commandTimeout * 1_000 + LOADED_MS
}

/** Whether the trouble keeps the lease's own process from reaching whatever server there is. */
const concerns = ({ what, workers, inside }, { life }) =>
  what === 'a busy machine' || [...(workers ?? []), ...(inside ?? [])].includes(life.name)

/**
 * When those of the pair could reach Redis again after `at`: not before the troubles that had begun by then are over.
 */
function reachableAfter(at, pair, { troubles, stops }) {
  const both = [pair.first, pair.second]
  let last = at
  const spans = [
    ...troubles.filter((trouble) => both.some((lease) => concerns(trouble, lease))),
    ...stops.filter(({ worker }) => both.some(({ life }) => life.name === worker)),
    ...both.flatMap(({ life }) => life.gaps),
  ].sort((one, other) => one.from - other.from)
  for (const { from, to } of spans) if (from <= last + LOADED_MS) last = Math.max(last, to)
  return last
}

const ALLOWANCES = {
  // "Granted without Redis": `'allow'` lets in without a limit, `'local'` in each process by itself, "those let in may
  // run on beside those that Redis grants then". What `'local'` promises inside a process is judged as a rule of its
  // own.
  'a lease without Redis': ({ first, second }) => {
    if (!first.standIn && !second.standIn) return false
    return !(first.standIn && second.standIn && first.life === second.life)
  },

  // "failover that loses writes […] newcomers may get in beside those who hold; […] until the next renewal, at most a
  // third of limitExpire"; "with Sentinel … two primaries". A planned failover of a cluster loses nothing. With
  // minReplicas none is lost "that anybody heard of", but "renewals may be lost: the lease then ends earlier".
  'a failover': (pair, record) =>
    record.promotions.some((promotion) => {
      if (promotion.isPlanned || pair.from < promotion.from) return false
      const { minReplicas } = record.day.connection
      if (minReplicas && pair.first.from > promotion.from - leaseOf(pair.first) / 2) return false
      return pair.to <= renewalAfter(reachableAfter(promotion.to, pair, record) + FOLLOW_MS, pair, record)
    }),

  // "FLUSHALL, FLUSHDB: newcomers may get in beside those who hold; […] until the next renewal"
  'a flush': (pair, record) =>
    record.troubles.some(({ what, from, to }) => {
      if (what !== 'everything flushed' || pair.from < from) return false
      return pair.to <= renewalAfter(reachableAfter(to, pair, record), pair, record)
    }),

  // "Redis's wall clock jumps forward: leases shorter than the jump end early, and slots handed over by push […];
  // holders whose slot was given away get lost at their next renewal"
  'a clock step': (pair, record) =>
    record.troubles.some(({ what, seconds, from, to }) => {
      if (
        what !== 'the clock of the server steps' ||
        seconds < 0 ||
        pair.from < from ||
        pair.first.from > to + LOADED_MS
      )
        return false
      return pair.to <= renewalAfter(reachableAfter(to, pair, record), pair, record)
    }),

  // "Redis is restarted empty, or with an old snapshot: […] A holder that is stopped or cut off all that time can't,
  // and may be joined until its own lease is over"
  'a restart': (pair, record) =>
    record.troubles.some(({ what, to }) => {
      if (what !== 'a server killed' || pair.from < to) return false
      const settled = to + record.day.connection.settle * 1_000
      return pair.from >= settled - LOADED_MS && wasAwayFrom(to, settled, pair.first, record)
    }),

  // "Acquiring a name that is held takes the lease over: same slot, new token; the former owner has lost it", and hears
  // so at its next renewal. Until then the taker may have left, and anybody else be where it was.
  'a name taken over': (pair, record) => {
    const { first, second } = pair
    const mayBeTaken = [first, second].some(({ task }) => task.holder === 'shared')
    if (!mayBeTaken && (first.task !== second.task || first.task.holder === 'none')) return false
    return pair.to <= renewalAfter(reachableAfter(pair.from, pair, record), pair, record)
  },
}

/**
 * Connections that are cut are made anew at once, and a process that hangs goes on, unless its client is the user's
 * own.
 */
function keepsAway({ what, workers }, name, { day }) {
  if (what === 'a worker hangs') return workers[0] === name && day.workers.find((one) => one.name === name).client
  return what === 'workers apart' && workers.includes(name)
}

/**
 * Whether the lease's process was stopped or cut off from the one moment to the other, but for what reconnecting takes.
 */
function wasAwayFrom(from, to, { life }, record) {
  const { troubles, stops } = record
  const spans = [
    ...troubles.filter((trouble) => keepsAway(trouble, life.name, record)),
    ...stops.filter(({ worker }) => worker === life.name),
  ].sort((one, other) => one.from - other.from)
  let covered = from
  for (const span of spans) if (span.from <= covered + LOADED_MS / 2) covered = Math.max(covered, span.to)
  return covered >= to - LOADED_MS / 2
}

/** The name of what allows the pair; undefined if nothing does. */
export const allowanceFor = (pair, record) => Object.keys(ALLOWANCES).find((name) => ALLOWANCES[name](pair, record))
