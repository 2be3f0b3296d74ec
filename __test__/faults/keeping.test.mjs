// A process that keeps slots which nobody holds, on the bad days.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Limiter } from 'concurrency-limit'
import { afterEach, expect, test } from 'vitest'
import { expectNoneTogether, now, withoutWanted } from '../support/crowds.mjs'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, startRedis, until } from '../support/helpers.mjs'

const WORKER = fileURLToPath(new URL('../support/keeper.worker.mjs', import.meta.url))
const LIMIT = 2
const LEASE = 6
const KEEP = 2

const server = useRedis()
const witness = useLimiter(server)

const keepers = []
afterEach(async () => {
  for (const keeper of keepers.splice(0)) {
    keeper.process.kill('SIGCONT')
    keeper.process.kill('SIGKILL')
    await keeper.ended
  }
})

/** A process that can keep all slots of a key; `keep` has it do so. */
async function startKeeper(key, { url = server.url } = {}) {
  const config = { key, limit: LIMIT, limitExpire: LEASE, limitKeep: KEEP, limitTimeout: 30 }
  const process = fork(WORKER, [JSON.stringify({ url, config, many: LIMIT })])
  const keeper = { process, ended: once(process, 'exit'), inside: [] }
  keepers.push(keeper)
  const ask = async (message) => {
    process.send(message)
    const [{ inside, stats }] = await once(process, 'message')
    keeper.inside.push(...inside)
    return stats
  }
  keeper.tell = () => ask('tell')
  keeper.use = () => ask('use')
  keeper.keep = () => until(async () => (await ask('use')).kept.now === LIMIT, 'it keeps its slots')
  await once(process, 'message')
  return keeper
}

/** A process that keeps all slots of a key. */
async function keeping(key, options) {
  const keeper = await startKeeper(key, options)
  await keeper.keep()
  return keeper
}

/** Takes a slot beside it, and says how long that took. */
async function comeIn(key, config = {}) {
  const start = now()
  const lease = await witness.acquire({ key, limit: LIMIT, limitTimeout: 20, ...config })
  const from = now()
  await lease.release()
  return { took: from - start, slot: lease.slot, token: lease.fencingToken, from, to: from }
}

test('a process that is killed while it keeps slots is joined when its leases are over', async () => {
  const keeper = await keeping('killed')
  keeper.process.kill('SIGKILL')
  await keeper.ended
  const { took, ...came } = await comeIn('killed')
  expect(took).toBeGreaterThan(1000)
  expect(took).toBeLessThan(LEASE * 1000 + 500)
  expectNoneTogether([...keeper.inside, came])
})

test('what a process keeps comes back at once when it ends', async () => {
  const keeper = await keeping('exits')
  keeper.process.send('exit')
  await keeper.ended
  const { took } = await comeIn('exits', { limitTimeout: 0 })
  expect(took).toBeLessThan(500)
})

test('a push that is lost on its way is made up for within a second', async () => {
  const proxy = await withoutWanted(server.port)
  const keeper = await keeping('lost', { url: proxy.url })
  const one = await comeIn('lost')
  expect(one.took).toBeLessThan(1500)
  expectNoneTogether([...keeper.inside, one])
  await proxy.close()
})

test('a process that is suspended while it keeps slots has given them up when it goes on', async () => {
  const keeper = await keeping('suspended')
  keeper.process.kill('SIGSTOP')
  const { pid } = keeper.process
  await until(() => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '), 'it stands still')
  // It can't answer: who doesn't wait is refused, and who waits comes in when the leases are over.
  const start = now()
  expect(await witness.tryAcquire({ key: 'suspended', limit: LIMIT })).toBeNull()
  expect(now() - start).toBeLessThan(1000)
  const came = [await comeIn('suspended')]
  expect(now() - start).toBeLessThan(LEASE * 1000 + 1000)
  keeper.process.kill('SIGCONT')
  const { calls } = await keeper.tell()
  expect((await keeper.use()).calls).toBeGreaterThan(calls)
  came.push(await comeIn('suspended'))
  expectNoneTogether([...keeper.inside, ...came])
})

test('a Redis that was restarted empty while slots were kept lets everybody in afterwards', async () => {
  const first = await startRedis()
  const keeper = await keeping('restarted', { url: first.url })
  await first.stop()
  const { url, stop } = await startRedis({ port: first.port })
  const others = new Limiter(url)
  const lease = await others.acquire({ key: 'restarted', limit: 1, limitTimeout: 20 })
  expect(lease.slot).toBe(1)
  await lease.release()
  await keeper.keep()
  await until(async () => (await others.status('restarted')).held === 0, 'its time is over')
  await others.close()
  await stop()
})

test('a process whose kept slots Redis has lost gives them up before their time', async () => {
  const keeper = await keeping('flushed')
  await redis(server.port, 'FLUSHALL')
  // Until then newcomers may get in beside those who hold, as docs/operations.md says.
  await until(async () => (await keeper.tell()).kept.now === 0, 'it has given them up')
  expect((await keeper.tell()).kept).toMatchObject({ recalled: LIMIT, unused: 0 })
  const came = [await comeIn('flushed'), await comeIn('flushed')]
  await keeper.keep()
  came.push(await comeIn('flushed'))
  expectNoneTogether([...keeper.inside, ...came])
})

test('two processes that keep slots take turns', async () => {
  const both = await Promise.all([1, 2].map(() => startKeeper('turns')))
  for (let i = 0; i < 40; i++) {
    const start = now()
    await Promise.all(both.map((keeper) => keeper.use()))
    expect(now() - start).toBeLessThan(2000)
  }
  expectNoneTogether(both.flatMap((keeper) => keeper.inside))
})
