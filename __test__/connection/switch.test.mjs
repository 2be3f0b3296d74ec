// Sentinels make another server the primary while the old one stays up and writable: everybody leaves it within a
// second, whatever rights they have at the sentinels, and is not led back by one that was cut off.
//
// The old primary has no REPLICAOF, so that nobody can make it a replica: who stays there goes on being granted. How
// many are inside is counted from the outside.
import { readFileSync } from 'node:fs'
import { Limiter } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { redis, rejection, startRedis, until, watchPauses } from '../support/helpers.mjs'
import { acquainted, roleOf, startReplica, startSentinel, startStaleSentinel } from '../support/replicas.mjs'
import { mostAtOnce, startLoad } from '../support/traffic.mjs'

const NAME = 'master'
const LIMIT = 4
/** How long after the sentinels agree somebody may still be on the old primary. */
const BOUND_MS = 1_000
let old, replicas, sentinels, nodes
const limiters = []

beforeAll(async () => {
  old = await startRedis({ args: ['--rename-command', 'REPLICAOF', '', '--rename-command', 'SLAVEOF', ''] })
  replicas = await Promise.all([startReplica(old.port), startReplica(old.port)])
  const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const [, rights] = /^```\nACL SETUSER watcher on >password (.*?)^```$/ms.exec(operations)
  const users = [
    'user default on nopass ~* &* +@all',
    `user watcher on >password ${rights.trim().split(/\s+/).join(' ')}`,
    'user asker on >password resetchannels -@all +hello +auth +sentinel|get-master-addr-by-name',
  ]
  sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(NAME, old.port, 2, users)))
  await acquainted(sentinels, NAME, 2)
  nodes = sentinels.map(({ port }) => `127.0.0.1:${port}`)
}, 60_000)

afterEach(async () => {
  for (const { pid } of sentinels) process.kill(pid, 'SIGCONT')
  await Promise.all(limiters.splice(0).map((limiter) => limiter.close()))
})

afterAll(async () => {
  await Promise.all([...sentinels, ...replicas, old].map((program) => program.stop()))
})

const now = () => Number(process.hrtime.bigint()) / 1e6
const named = async ({ port }) => Number((await redis(port, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME))[1])
const connections = async ({ port }, name) =>
  (await redis(port, 'CLIENT', 'LIST')).split('\n').filter((line) => line.includes(` name=${name} `))

/** What was held after this moment, counted from then on. */
const since = (moment, intervals) =>
  intervals.filter(([, end]) => end > moment).map(([begin, end]) => [Math.max(begin, moment), end])

test('a planned failover under load: within a second after the sentinels agree nobody is on the old primary', async () => {
  const pauses = watchPauses()
  const shared = { limit: LIMIT, limitTimeout: 30, limitExpire: 3 }
  const user = (username) => ({ name: NAME, nodes, username, password: 'password' })
  const groups = [
    { key: 'plain', more: [{ sentinel: { name: NAME, nodes } }, { sentinel: user('asker') }] },
    { key: 'safe', more: [{ sentinel: user('watcher') }, { sentinel: user('asker') }].map(withReplicas) },
  ]
  const loads = groups.map(({ key, more }) =>
    more.map((options) => startLoad({ clientName: 'load', connectTimeout: 2, ...options }, { key, ...shared }, 8)),
  )
  const each = (least) =>
    until(() => loads.flat().every((load) => load.granted() >= least), `${least} grants each`, 30_000)
  try {
    await each(30)
    expect(await redis(sentinels[0].port, 'SENTINEL', 'FAILOVER', NAME)).toBe('OK')
    const agreed = async () => {
      const all = new Set(await Promise.all(sentinels.map(named)))
      return all.size === 1 && !all.has(old.port)
    }
    await until(agreed, 'the sentinels agree', 20_000)
    const bound = now() + BOUND_MS
    await until(async () => (await connections(old, 'load')).length === 0, 'nobody is on the old primary', 5_000)
    const leftAt = now()
    expect(leftAt - bound).toBeLessThan(pauses.longest() + 100)
    expect(await roleOf(old.port)).toBe('master')
    const before = Math.max(...loads.flat().map((load) => load.granted()))
    await each(before + 100)
    for (const [at, { key }] of groups.entries()) {
      const reports = await Promise.all(loads[at].map((load) => load.stop()))
      const intervals = reports.flatMap((report) => report.intervals)
      const most = [mostAtOnce(intervals), mostAtOnce(since(bound + pauses.longest(), intervals))]
      console.log(`${key}: at most ${most[0]} inside, ${most[1]} after the bound; left ${leftAt - bound} ms after it`)
      expect(most[1]).toBeGreaterThan(0)
      expect(most[1]).toBeLessThanOrEqual(LIMIT)
    }
  } finally {
    for (const load of loads.flat()) load.kill()
    pauses.stop()
  }
}, 60_000)

function limiterOf(options) {
  const limiter = new Limiter(options)
  limiters.push(limiter)
  return limiter
}

const withReplicas = (options) => ({ ...options, minReplicas: 1, replicaTimeout: 0.3 })

test('who holds and asks nothing is told who said it, and keeps the lease at the new primary', async () => {
  const before = await named(sentinels[0])
  const limiter = limiterOf({ sentinel: { name: NAME, nodes }, clientName: 'idle' })
  const reasons = []
  limiter.on('disconnect', ({ message }) => reasons.push(message))
  const lease = await limiter.acquire({ key: 'idle', limit: 1 })
  const subscribed = async ({ port }) => / sub=1 /.test(await redis(port, 'CLIENT', 'LIST'))
  await until(async () => (await Promise.all(sentinels.map(subscribed))).every(Boolean), 'it hears all sentinels')
  const stored = async () => {
    const others = replicas.filter(({ port }) => port !== before)
    return (await Promise.all(others.map(({ port }) => redis(port, 'EXISTS', 'cl:{idle}')))).every(
      (there) => there === 1,
    )
  }
  await until(stored, 'the replica has the lease')
  await until(
    async () => (await redis(sentinels[0].port, 'SENTINEL', 'FAILOVER', NAME).catch(() => '')) === 'OK',
    'the failover begins',
    20_000,
  )
  const heir = await until(
    async () => {
      const port = await named(sentinels[1])
      return port !== before && replicas.find((replica) => replica.port === port)
    },
    'the sentinels switch',
    20_000,
  )
  await until(async () => (await connections(heir, 'idle')).length === 1, 'the link leads to the new primary', 5_000)
  expect(reasons.length).toBeGreaterThan(0)
  expect(reasons[0]).toMatch(new RegExp(`${heir.port} since epoch \\d+ and not .*${before}, by the sentinels`))
  expect(lease.lost).toBe(false)
  expect(await lease.release()).toBe(true)
}, 60_000)

test('one sentinel that was cut off leads nobody back to the old primary', async () => {
  const stale = await startStaleSentinel(old.port, 0)
  const port = await named(sentinels[0])
  const primary = replicas.find((replica) => replica.port === port)
  const limiter = limiterOf({ sentinel: { name: NAME, nodes: [stale.node, ...nodes] }, clientName: 'steady' })
  let disconnects = 0
  limiter.on('disconnect', () => disconnects++)
  const pass = async () => (await limiter.acquire({ key: 'steady', limit: 1 })).release()
  expect(await pass()).toBe(true)
  for (const { pid } of sentinels) process.kill(pid, 'SIGSTOP')
  const askedMore = async (more) => {
    const before = stale.asked()
    await until(() => stale.asked() >= before + more, 'the stale sentinel was asked again and again')
  }
  // What the others said last counts for three seconds more.
  await askedMore(6)
  expect(await pass()).toBe(true)
  expect(disconnects).toBe(0)
  // Nor when the link has to be opened anew.
  const [line] = await connections(primary, 'steady')
  await redis(primary.port, 'CLIENT', 'KILL', 'ID', /^id=(\d+)/.exec(line)[1])
  const asked = rejection(limiter.acquire({ key: 'steady', limit: 1, limitTimeout: 3 }))
  await askedMore(3)
  expect(await connections(old, 'steady')).toEqual([])
  expect((await asked).message).toMatch(/know less than is known already/)
  for (const { pid } of sentinels) process.kill(pid, 'SIGCONT')
  expect(await pass()).toBe(true)
  expect((await connections(primary, 'steady')).length).toBe(1)
  expect(await redis(old.port, 'EXISTS', 'cl:{steady}')).toBe(0)
  await stale.stop()
}, 30_000)

test.each([
  ['a write that is refused for want of replicas', { args: ['--min-replicas-to-write', '1'] }, {}],
  ['a failed check for replicas', {}, { minReplicas: 1, replicaTimeout: 0.05 }],
])('%s is a reason to ask the sentinels at once', async (_, redisOptions, options) => {
  const lonely = await startRedis(redisOptions)
  const lone = await startStaleSentinel(lonely.port, 0)
  const limiter = limiterOf({ sentinel: { name: NAME, nodes: [lone.node] }, ...options })
  await limiter.status('lonely')
  await until(() => lone.asked() > 1, 'the link is watched')
  const [before, startedAt] = [lone.asked(), performance.now()]
  await rejection(limiter.acquire({ key: 'lonely', limit: 1, limitTimeout: 1 }))
  const looks = (performance.now() - startedAt) / 600
  expect(lone.asked() - before).toBeGreaterThan(2 * looks)
  await limiter.close()
  await lone.stop()
  await lonely.stop()
})
