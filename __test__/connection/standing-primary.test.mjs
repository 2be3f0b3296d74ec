// The primary stands still: its sockets are open, and it answers nothing. Whoever tries it is with the new one as soon
// as the sentinels know of that.
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { redis, startRedis, until, watchPauses } from '../support/helpers.mjs'
import { acquainted, startReplica, startSentinel } from '../support/replicas.mjs'

const NAME = 'master'
/** How long after the sentinels agree somebody may still try the old primary. */
const BOUND_MS = 1_000
let primary, replica, sentinels, limiters

beforeAll(async () => {
  primary = await startRedis()
  replica = await startReplica(primary.port)
  sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(NAME, primary.port, 2)))
  await acquainted(sentinels, NAME, 1)
  const nodes = sentinels.map(({ port }) => ({ host: '127.0.0.1', port }))
  const options = [{}, { clientName: 'other' }, { minReplicas: 1, replicaTimeout: 0.3 }]
  limiters = options.map((more) => new Limiter({ sentinel: { name: NAME, nodes }, ...more }))
}, 60_000)

afterAll(async () => {
  await Promise.all(limiters.map((limiter) => limiter.close()))
  await Promise.all([...sentinels, replica, primary].map((program) => program.stop()))
})

test('a primary that stands still is left as soon as the sentinels know of another', async () => {
  const pauses = watchPauses()
  const config = { limit: 3, limitTimeout: 30 }
  const pass = async (limiter, at) => (await limiter.acquire({ key: `still-${at}`, ...config })).release()
  expect(await Promise.all(limiters.map(pass))).toEqual([true, true, true])
  process.kill(primary.pid, 'SIGSTOP')
  // The one with minReplicas would have to wait for a replica of the new primary.
  const asked = Promise.all(limiters.slice(0, 2).map(pass))
  const named = async ({ port }) => Number((await redis(port, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME))[1])
  const agree = async () => (await Promise.all(sentinels.map(named))).every((port) => port === replica.port)
  await until(agree, 'the sentinels agree', 20_000)
  const agreedAt = performance.now()
  expect(await asked).toEqual([true, true])
  const bound = BOUND_MS + 2 * pauses.longest()
  expect(performance.now() - agreedAt).toBeLessThan(bound)
  const there = async () => (await limiters[2].status('still-2').catch(() => undefined)) !== undefined
  await until(there, 'the one with minReplicas is there', bound)
  pauses.stop()
}, 60_000)
