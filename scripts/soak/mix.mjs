// `npm run soak -- --mix [--seed N] [--minutes M]`: days of which each is drawn from a seed: where Redis is, how
// Limiters connect, what is asked for, and what goes wrong when. An observer judges what the processes wrote, and at
// the end of a day everything must be at rest. A failure tells its seed, its day, the rule and what happened around it.
//
// With seeds, one day each (`--seed 3,8,21`); else fresh ones until the minutes are over, ten unless said. `--kind
// cluster` has all of them there. `--without 'memory full,minReplicas'` leaves out faults and options of what is drawn,
// to find what a failure needs.
import { randomInt } from 'node:crypto'
import { liveThrough } from './day.mjs'
import { drawDay, leaveOut } from './draw.mjs'

const SHOWN = 6
const AROUND_MS = 1_500
const MOST_LINES = 60
const TOO_BUSY_MS = 2_000
const ATTEMPTS = 3

function* seedsOf({ seed, minutes = '10' }) {
  if (seed !== undefined) {
    if (!/^\d+(,\d+)*$/.test(seed)) throw new Error(`seed: expected a number, or some with commas, but got ${seed}`)
    return yield* seed.split(',').map(Number)
  }
  if (!(Number(minutes) > 0)) throw new Error(`minutes: expected a number above 0, but got ${minutes}`)
  const end = performance.now() + minutes * 60_000
  while (performance.now() < end) yield randomInt(2 ** 31)
}

const seconds = (ms) => `${(ms / 1_000).toFixed(1)} s`

function summary({ day, wrong, record }, tookMs) {
  const { connection, faults, workers } = day
  const told = [
    `${day.kind}${day.replicas > 0 && day.kind === 'single' ? ` with ${day.replicas} replicas` : ''}`,
    ...['minReplicas', 'onUnavailable', 'stallTimeout'].flatMap((name) =>
      name in connection ? [`${name} ${connection[name]}`] : [],
    ),
    ...workers.flatMap(({ client }) => (client ? [client] : [])),
    faults.map(({ name }) => name).join(' + '),
  ]
  const allowed = Object.entries(record.allowed).map(([name, count]) => `${count} by ${name}`)
  if (busyIn(record) > 0) told.push(`the machine too busy for ${seconds(busyIn(record))}`)
  const counts = `${record.requests.length} asked, ${record.leases.length} leases, allowed: ${allowed.join(', ') || 'nothing'}`
  return `seed ${day.seed}: ${told.join(', ')}; ${counts}; ${seconds(tookMs)}: ${wrong.length === 0 ? 'ok' : `${wrong.length} WRONG`}`
}

/** What was written and said around a moment, by those whom it's about. */
function around({ record }, { at, of }) {
  const written = record.lines
    .filter(({ what, name }) => what !== 'good' && (of.length === 0 || of.includes(name)))
    .map(({ what, at, rest, name }) => ({
      at,
      text: `${name} ${what} ${rest.map((r) => JSON.stringify(r)).join(' ')}`,
    }))
  const promoted = record.promotions.map(({ to, server, isPlanned }) => ({
    at: to,
    text: `${server} is promoted${isPlanned ? ', as planned' : ''}`,
  }))
  const near = [...written, ...record.said, ...promoted].filter((one) => Math.abs(one.at - at) < AROUND_MS)
  near.sort((one, other) => one.at - other.at)
  const middle = near.findIndex((one) => one.at >= at)
  return near.slice(Math.max(0, middle - MOST_LINES / 2), middle + MOST_LINES / 2)
}

function tell(result) {
  const { day, wrong, record } = result
  console.error(`the day: ${JSON.stringify(day)}`)
  for (const { text, at } of record.said) console.error(`  ${seconds(at - record.begun)} ${text}`)
  const rules = new Map()
  for (const one of wrong) rules.set(one.rule, [...(rules.get(one.rule) ?? []), one])
  for (const [rule, broken] of rules) {
    console.error(`BROKEN, ${broken.length} times: ${rule}`)
    for (const { text, at } of broken.slice(0, SHOWN)) console.error(`  ${seconds(at - record.begun)} ${text}`)
    for (const { at, text } of around(result, broken[0])) console.error(`    ${seconds(at - record.begun)} ${text}`)
  }
}

const busyIn = ({ troubles }) =>
  troubles.filter(({ what }) => what === 'a busy machine').reduce((sum, { from, to }) => sum + to - from, 0)

/** The day, judged. One that broke a rule while the machine stood still says nothing: it's lived through again. */
async function judged(day) {
  for (let attempt = 1; ; attempt++) {
    const from = performance.now()
    const result = await liveThrough(day)
    const tookMs = performance.now() - from
    const stoodMs = busyIn(result.record)
    console.log(summary(result, tookMs))
    if (result.wrong.length === 0 || stoodMs < TOO_BUSY_MS || attempt === ATTEMPTS) return result
    console.log(`the machine was too busy, for ${seconds(stoodMs)}: once more`)
  }
}

/** How many days broke a rule. */
export async function mix(options) {
  if (process.platform !== 'linux')
    throw new Error('days need Linux: who is at the end of a connection is read from /proc')
  const without = options.without?.split(',') ?? []
  const failed = []
  let [days, leases] = [0, 0]
  for (const seed of seedsOf(options)) {
    days++
    try {
      const result = await judged(leaveOut(drawDay(seed, options), without))
      leases += result.record.leases.length
      if (result.wrong.length === 0) continue
      tell(result)
    } catch (error) {
      console.error(`seed ${seed}: the day couldn't be lived through: ${error.stack} ${error.cause?.stack ?? ''}`)
    }
    failed.push(seed)
  }
  const found = failed.length === 0 ? 'nothing was found' : `rules were broken with the seeds ${failed.join(', ')}`
  console.log(`${days} days, ${leases} leases: ${found}`)
  return failed.length
}
