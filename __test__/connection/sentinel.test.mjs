// The primary is whom the sentinels name. It is killed under load from two processes; work goes on by itself after the
// promotion, and at the end nothing is held and nobody waits.
//
// A promoted replica may lack the last writes of the dead primary: those who held then may be joined by others until
// they notice. How many were inside at most is counted from the outside and bounded, not promised to be the limit.
import { Limiter, UnavailableError } from 'concurrency-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'
import { freePort } from '../support/programs.mjs'
import { acquainted, roleOf, startReplica, startSentinel, startStaleSentinel } from '../support/replicas.mjs'
import { mostAtOnce, startLoad } from '../support/traffic.mjs'

const NAME = 'the/master'
const PASSWORD = 'a password'
const LIMIT = 4
let servers, sentinels, sentinel

beforeAll(async () => {
  const primary = await startRedis()
  const replica = await startReplica(primary.port)
  for (const { port } of [primary, replica]) {
    await redis(port, 'ACL', 'SETUSER', 'app', 'on', `>${PASSWORD}`, '~*', '&*', '+@all')
  }
  servers = [primary, replica]
  const users = ['user default on nopass ~* &* +@all', 'user watcher on >sesame ~* &* +@all']
  sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(NAME, primary.port, 2, users)))
  await acquainted(sentinels, NAME, 1)
  sentinel = { name: NAME, nodes: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })) }
}, 60_000)

afterAll(async () => {
  await Promise.all([...sentinels, ...servers].map((program) => program.stop()))
})

const nodeList = () => sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')

async function worksWith(...args) {
  const limiter = new Limiter(...args)
  const lease = await limiter.acquire({ key: 'works', limit: 1 })
  expect(await lease.release()).toBe(true)
  await limiter.close()
}

test('a url names sentinels, master and database', async () => {
  await worksWith(`redis+sentinel://${nodeList()}/${encodeURIComponent(NAME)}/3`, { clientName: 'in-three' })
  await worksWith(`redis+sentinel://app:${encodeURIComponent(PASSWORD)}@${nodeList()}/${encodeURIComponent(NAME)}`)
})

test('options name them, with users for the server and for the sentinels', () =>
  worksWith({
    sentinel: { ...sentinel, username: 'watcher', password: 'sesame' },
    username: 'app',
    password: PASSWORD,
  }))

test('sentinels that are dead or silent are passed over', async () => {
  const nodes = [`127.0.0.1:${await freePort()}`, ...sentinel.nodes]
  await worksWith({ sentinel: { ...sentinel, nodes }, connectTimeout: 5 })
})

test.each([
  ['a name that no sentinel knows', () => ({ sentinel: { ...sentinel, name: 'nobody' } }), /doesn't know "nobody"/],
  [
    'a wrong password for the sentinels',
    () => ({ sentinel: { ...sentinel, username: 'watcher', password: 'x' } }),
    /refused|WRONGPASS|[Pp]assword/,
  ],
])('%s is an UnavailableError that says so', async (_, options, words) => {
  const limiter = new Limiter(options())
  const error = await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))
  expect(error).toBeInstanceOf(UnavailableError)
  expect(error.message).toMatch(words)
  expect(error.address).toMatch(/^redis\+sentinel:\/\//)
  await limiter.close()
})

test('a replica that a sentinel still calls the master is left for whom another names', async () => {
  const stale = await startStaleSentinel(servers[1].port)
  const limiter = new Limiter({ sentinel: { name: NAME, nodes: [stale.node, sentinel.nodes[0]] }, clientName: 'stale' })
  const lease = await limiter.acquire({ key: 'stale', limit: 1 })
  expect(stale.asked()).toBeGreaterThan(0)
  expect(await redis(servers[0].port, 'EXISTS', 'cl:{stale}')).toBe(1)
  // Nor is it taken for a server that knows no RESP3.
  const list = await redis(servers[0].port, 'CLIENT', 'LIST')
  expect(list).toMatch(/ name=stale /)
  expect(list).not.toMatch(/ name=stale .* resp=2/)
  await lease.release()
  await limiter.close()
  await stale.stop()
})

test('a killed primary under load: work goes on by itself, and nothing is held or waits at the end', async () => {
  const options = { sentinel, connectTimeout: 2, clientName: 'load' }
  const config = { key: 'load', limit: LIMIT, limitTimeout: 30, limitExpire: 3 }
  const loads = [1, 2].map(() => startLoad(options, config, 8))
  const granted = (least) => until(() => loads.every((load) => load.granted() >= least), `${least} each`, 30_000)
  await granted(50)
  const [dead, heir] = servers
  process.kill(dead.pid, 'SIGKILL')
  await until(async () => (await roleOf(heir.port)) === 'master', 'the replica is promoted', 30_000)
  const before = Math.max(...loads.map((load) => load.granted()))
  await granted(before + 100)
  const reports = await Promise.all(loads.map((load) => load.stop()))
  const most = mostAtOnce(reports.flatMap(({ intervals }) => intervals))
  console.log(
    `limit ${LIMIT}, at most ${most} inside at once; failures ${JSON.stringify(reports.map((r) => r.failures))}`,
  )
  expect(most).toBeGreaterThanOrEqual(LIMIT)
  expect(most).toBeLessThanOrEqual(2 * LIMIT)
  const observer = new Limiter({ sentinel })
  const quiet = async () => {
    const { held, waiting } = await observer.status('load')
    return held === 0 && waiting === 0
  }
  await until(quiet, 'nobody holds and nobody waits')
  await observer.close()
}, 90_000)
