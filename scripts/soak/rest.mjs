// The end of a day: load has stopped, nothing is wrong any more, and everything must come to rest. Gives what didn't,
// as texts.
import { setTimeout as sleep } from 'node:timers/promises'
import { now } from './moment.mjs'
import { hashOf } from './places.mjs'

// What nobody wants is free within a look, which is about a second.
const REST_MS = 2_500
const ANSWER_MS = 4_000
const CLOSE_MS = 3_000
const LEAVE_MS = 5_000
const MOST_MB = 300

/** How long a worker may take to end its rounds: the longest wait, the longest hold and what is owed beside them. */
function finishBound({ day }) {
  const longest = day.tasks.map(({ config, hold }) => (config.limitTimeout ?? 10) * 1_000 + Math.max(hold[1], 3_000))
  return Math.max(...longest) + day.connection.commandTimeout * 2_000 + 3_000
}

/**
 * Whether the record of a lease or waiter says that it counts; what has ended is removed when somebody needs the room.
 */
function counts([kind, end], nowMs) {
  return kind === 'W' || Number(end) > nowMs
}

/** What is still in Redis of a group, beside what may stay for five minutes. */
async function leftIn(world, key) {
  const master = await world.place.masterOf(key)
  const name = hashOf(key)
  const [seconds, micros] = await master.ask('TIME')
  const fields = await master.ask('HGETALL', name)
  const left = []
  for (let i = 0; i < fields.length; i += 2) {
    const [field, value] = fields.slice(i, i + 2)
    if (field.startsWith('l') && counts(value.split(' '), seconds * 1e3 + micros / 1e3)) left.push(`${field} ${value}`)
  }
  const line = await master.ask('ZRANGE', `${name}:queue`, '0', '-1')
  left.push(...line.filter((member) => member !== '.').map((member) => `in line ${member}`))
  for (const each of [name, `${name}:ends`, `${name}:gaps`, `${name}:queue`]) {
    if ((await master.ask('PTTL', each)) === -1) left.push(`${each} never expires`)
  }
  return left
}

/** What one look finds at a worker. */
async function heldBy(worker, keys) {
  const { held, waiting, groups, rss } = await worker.callWithin(ANSWER_MS, 'look', keys)
  const wrong = []
  if (held + waiting > 0) wrong.push(`${worker.name}: stats() says ${held} held, ${waiting} waiting`)
  for (const group of groups) {
    if (group.held + group.waiting === 0) continue
    const who = [...group.holders, ...group.waiters].map(
      ({ leaseId, endsIn }) => `${leaseId}${endsIn ? ` (${endsIn} s)` : ''}`,
    )
    wrong.push(`${worker.name}: status(${group.key}): ${group.held} held, ${group.waiting} waiting: ${who.join(' ')}`)
  }
  if (rss > MOST_MB) wrong.push(`${worker.name} has ${Math.round(rss)} MB in memory`)
  return wrong
}

async function lookAtAll(world) {
  const keys = world.day.groups.map(({ key }) => key)
  const found = await Promise.all(
    [...world.workers.values()].map((worker) => heldBy(worker, keys).catch((e) => [e.message])),
  )
  for (const key of keys) {
    const left = await leftIn(world, key).catch((error) => [error.message])
    if (left.length > 0) found.push([`in Redis, of ${key}: ${left.slice(0, 8).join(', ')}`])
  }
  return found.flat()
}

/** Has every task end its round; the workers that didn't, as texts. */
export async function finish(world) {
  const bound = finishBound(world)
  const all = [...world.workers.values()].map((worker) =>
    worker.callWithin(bound, 'finish').then(
      () => [],
      (e) => [e.message],
    ),
  )
  return (await Promise.all(all)).flat()
}

/** For how long the machine was too busy to carry the network since that moment. */
function busySince({ troubles }, moment) {
  const busy = troubles.filter(({ what, to }) => what === 'a busy machine' && to > moment)
  return busy.reduce((sum, { from, to }) => sum + to - from, 0)
}

/** Resolves to what is wrong when everything is at rest, or should be. */
export async function rest(world) {
  // "Redis's wall clock jumps back: leases of vanished holders end later by as much".
  const back = world.day.faults.reduce((sum, { seconds = 0 }) => sum + Math.max(0, -seconds), 0)
  const from = now()
  const end = () => from + REST_MS + back * 1_000 + 2 * busySince(world, from)
  let found = await lookAtAll(world)
  while (found.length > 0 && now() < end()) {
    await sleep(100)
    found = await lookAtAll(world)
  }
  return found
}

/** Every limiter closes, and every process then ends by itself. */
export async function leave(world) {
  const bound = CLOSE_MS + world.day.connection.commandTimeout * 1_000
  const one = async (worker) => {
    await worker.callWithin(bound, 'close')
    await worker.callWithin(bound, 'leave')
    const code = await worker.gone(LEAVE_MS)
    if (code !== 0) throw new Error(`${worker.name} ended with ${code}: ${worker.life.output}`)
  }
  const all = [...world.workers.values()].map((worker) =>
    one(worker).then(
      () => [],
      (error) => [error.message],
    ),
  )
  return (await Promise.all(all)).flat()
}
