// A process that passes slots among its own requests, on the bad days: judged by the clock that all processes share.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { expectNoneTogether, now, withoutWanted } from '../support/crowds.mjs'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, scriptCalls, startRedis, until } from '../support/helpers.mjs'

const WORKER = fileURLToPath(new URL('../support/crowd.worker.mjs', import.meta.url))
const LEASE = 2

const server = useRedis()
const witness = useLimiter(server)

const crowds = []
afterEach(async () => {
  for (const crowd of crowds.splice(0)) {
    crowd.process.kill('SIGCONT')
    crowd.process.kill('SIGKILL')
    await crowd.ended
  }
})

/** A process with a crowd in it; `ask` tells what it has done, and keeps all that. */
async function startCrowd(key, { url = server.url, tasks = 20, holdMs = 0, limit = 2, lease = LEASE } = {}) {
  const config = { key, limit, limitExpire: lease, limitTimeout: 60 }
  const process = fork(WORKER, [JSON.stringify({ url, config, tasks, holdMs })])
  const crowd = { process, ended: once(process, 'exit'), inside: [], turns: [], passed: 0 }
  crowds.push(crowd)
  crowd.ask = async (message = 'tell') => {
    process.send(message)
    const [said] = await once(process, 'message')
    crowd.inside.push(...said.inside)
    const { turns, holding, longestWait } = said
    Object.assign(crowd, { turns, holding, longestWait, passed: said.passed ?? crowd.passed })
    return crowd
  }
  await once(process, 'message')
  return crowd
}

const passes = (crowd) => {
  const before = crowd.passed
  return until(async () => (await crowd.ask()).passed > before + 50, 'it passes slots')
}

/** Gets a slot beside them, and says how long that took. */
async function comeIn(key, limit = 2) {
  const start = now()
  const lease = await witness.acquire({ key, limit, limitTimeout: 10 })
  const from = now()
  await lease.release()
  return { took: from - start, slot: lease.slot, token: lease.fencingToken, from, to: from }
}

test('a process that is killed while it passes is joined when its leases are over', async () => {
  const crowd = await startCrowd('killed')
  await passes(crowd)
  const { passed } = await crowd.ask()
  crowd.process.kill('SIGKILL')
  await crowd.ended
  const { took, ...came } = await comeIn('killed')
  expect(passed).toBeGreaterThan(50)
  expect(took).toBeLessThan(LEASE * 1000 + 500)
  expectNoneTogether([...crowd.inside, came])
})

test('a process that ends by process.exit while it passes has its slots back at once', async () => {
  const crowd = await startCrowd('exits')
  await passes(crowd)
  crowd.process.send('exit')
  await crowd.ended
  const { took } = await comeIn('exits')
  expect(took).toBeLessThan(500)
})

test('somebody else is let in as soon as they wait, and again and again', async () => {
  const crowd = await startCrowd('others', { tasks: 50, holdMs: 2 })
  const came = []
  // Each time it's later that it passes again: 3 s, then 6.
  for (let i = 0; i < 3; i++) {
    await passes(crowd)
    // All that were there before: 50 tasks on two slots.
    const one = await comeIn('others')
    expect(one.took).toBeLessThan(2000)
    came.push(one)
  }
  await crowd.ask('stop')
  expectNoneTogether([...crowd.inside, ...came])
}, 90_000)

test('a push that is lost on its way is made up for within a second', async () => {
  const proxy = await withoutWanted(server.port)
  const crowd = await startCrowd('lost', { url: proxy.url, holdMs: 1 })
  await passes(crowd)
  const one = await comeIn('lost')
  expect(one.took).toBeLessThan(2500)
  await crowd.ask('stop')
  expectNoneTogether([...crowd.inside, one])
  proxy.close()
})

/** For how long two processes take turns; `TURNS_SECONDS=60` for a minute. */
const TURNS_S = Number(process.env.TURNS_SECONDS ?? 6)

test(
  'two processes take turns, and none starves',
  async () => {
    const before = await scriptCalls(server.port)
    const both = await Promise.all([1, 2].map(() => startCrowd('turns', { tasks: 10, holdMs: 3 })))
    await sleep(TURNS_S * 1000)
    await Promise.all(both.map((crowd) => crowd.ask('stop')))
    expectNoneTogether(both.flatMap((crowd) => crowd.inside))
    const [one, other] = both.map((crowd) => crowd.turns.reduce((sum, turns) => sum + turns, 0))
    const commands = ((await scriptCalls(server.port)) - before) / (one + other)
    const longest = Math.max(...both.map((crowd) => crowd.longestWait))
    console.log(
      `turns: ${one} and ${other}, ${commands.toFixed(2)} commands each, ${longest.toFixed(0)} ms waited at most`,
    )
    expect(Math.min(one, other) / Math.max(one, other)).toBeGreaterThan(0.5)
    for (const { turns } of both)
      expect(Math.max(...turns) - Math.min(...turns)).toBeLessThan(0.2 * Math.max(...turns) + 4)
  },
  (TURNS_S + 60) * 1000,
)

test('a process that is suspended while it passes has lost its slots when it goes on', async () => {
  const crowd = await startCrowd('suspended', { holdMs: 5 })
  await passes(crowd)
  crowd.process.kill('SIGSTOP')
  const came = []
  for (let i = 0; i < 3; i++) came.push(await comeIn('suspended'))
  expect(came[0].took).toBeLessThan(LEASE * 1000 + 500)
  crowd.process.kill('SIGCONT')
  await passes(crowd)
  await crowd.ask('stop')
  expectNoneTogether([...crowd.inside, ...came])
}, 60_000)

test('a Redis that has lost all while a process passes knows of its slots again within two seconds', async () => {
  const crowd = await startCrowd('flushed', { holdMs: 1 })
  await passes(crowd)
  const start = now()
  await redis(server.port, 'FLUSHALL')
  await until(async () => (await witness.status('flushed')).held === 2, 'both slots are held')
  const again = now()
  expect(again - start).toBeLessThan(2000)
  const one = await comeIn('flushed')
  expect(one.took).toBeLessThan(2000)
  await crowd.ask('stop')
  // Between the two newcomers may get in beside those who hold, as docs/operations.md says.
  expectNoneTogether([...crowd.inside.filter((it) => it.to < start || it.from > again), one])
}, 60_000)

test('a Redis that is restarted empty while a process passes lets nobody in beside those who hold', async () => {
  const first = await startRedis()
  const crowd = await startCrowd('restarted', { url: first.url, lease: 8 })
  await passes(crowd)
  const holdMs = 3000
  await crowd.ask(holdMs)
  await until(async () => (await crowd.ask()).holding === 2, 'both slots are held for long')
  await first.stop()
  // Others are there as soon as it is back.
  const others = await startCrowd('restarted', { url: first.url, tasks: 3, holdMs: 2, lease: 8 })
  const again = await startRedis({ port: first.port, age: 0 })
  await crowd.ask(0)
  await until(async () => (await others.ask()).inside.length > 20, 'others have turns', 20_000)
  await others.ask('stop')
  // It passes again when the cool-down is over.
  await passes(crowd)
  await crowd.ask('stop')
  expect(crowd.inside.filter((it) => it.to - it.from > holdMs - 50)).toHaveLength(2)
  expectNoneTogether([...crowd.inside, ...others.inside])
  await again.stop()
}, 60_000)
