// Workloads in which many tasks take and give as fast as they can: P1, P2, P3, P4, P11.
import { execFileSync } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import {
  ask,
  everybodyServed,
  mainThreadCpu,
  median,
  neverOver,
  now,
  quantile,
  redisFigures,
  redisTime,
  sleep,
  Watch,
} from './measure.mjs'
import { meet, together } from './processes.mjs'
import { NEVER_FULL, open } from './systems.mjs'

/** `tasks` tasks take and give for `ms`; figures of the whole. */
async function churn(system, url, { tasks, limit, ms, keyOf }) {
  const limiter = await open(system, url)
  const watches = new Map(Array.from({ length: tasks }, (_, task) => [keyOf(task), new Watch(limit)]))
  const waits = []
  const turns = new Array(tasks).fill(0)
  // Each task has had a slot once: what a first one costs is P10's.
  await Promise.all(turns.map(async (_, task) => (await limiter.take(keyOf(task), limit))()))
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const [redis, sent, calls] = [await redisFigures(url), limiter.sent(), await limiter.calls()]
  delay.enable()
  const [from, main, all] = [now(), mainThreadCpu(), process.cpuUsage()]
  await Promise.all(
    turns.map(async (_, task) => {
      const key = keyOf(task)
      const watch = watches.get(key)
      for (let asked = now(); asked < from + ms; asked = now()) {
        const give = await limiter.take(key, limit)
        watch.enter()
        waits.push(now() - asked)
        await undefined // all that were granted in this turn are inside together
        watch.leave()
        await give()
        turns[task]++
      }
    }),
  )
  const pairs = waits.length
  const [mainMs, spent, passed] = [mainThreadCpu() - main, process.cpuUsage(all), now() - from]
  delay.disable()
  const after = await redisFigures(url)
  const direct = Object.entries(limiter.sent()).map(([name, many]) => [name, many - (sent[name] ?? 0)])
  const made = (await limiter.calls()) - calls
  await limiter.close()
  return {
    turns,
    'pairs/s': (pairs / passed) * 1000,
    'wait p50 ms': median(waits),
    'wait p99 ms': quantile(waits, 0.99),
    'calls/pair': made / pairs,
    'turns max/min': Math.max(...turns) / Math.max(1, Math.min(...turns)),
    'main µs/pair': (mainMs * 1000) / pairs,
    'all µs/pair': (spent.user + spent.system) / pairs,
    'Redis µs/pair': redisTime(redis, after, Object.fromEntries(direct)).usec / pairs,
    'Redis CPU µs/pair': (after.cpuUs - redis.cpuUs) / pairs,
    'loop delay p99 ms': delay.percentile(99) / 1e6,
  }
}

function workload(title, { tasks, limit = NEVER_FULL, keyOf, local = false }) {
  return {
    title,
    limit,
    local,
    kept: true,
    async run(system, url, ms) {
      const { turns, ...figures } = await churn(system, local ? 'memory:' : url, { tasks, limit, ms, keyOf })
      if (system.startsWith('ours')) everybodyServed(turns, 'tasks')
      return figures
    },
  }
}

/** Pairs of bare scripts as fast as `redis-benchmark` sends them, 1000 under way. */
async function pipelinedScripts(url) {
  const sha = /[0-9a-f]{40}/.exec(await ask(url, `SCRIPT LOAD "return redis.call('INCR', KEYS[1])"`))[0]
  const { hostname, port } = new URL(url)
  const where = ['-h', hostname, '-p', port]
  const what = ['-c', '4', '-P', '250', '-n', '300000', '--csv', 'EVALSHA', sha, '1', 'bare']
  const csv = execFileSync('redis-benchmark', [...where, ...what], { encoding: 'utf8' })
  return { 'pairs/s': Number(csv.trim().split('\n').at(-1).split('","')[1]) / 2 }
}

/** One process of P4: 50 tasks that hold for 5 ms, from when all are ready on. */
async function contend(system, url, { ms, limit, tasks }) {
  const limiter = await open(system, url)
  await (await limiter.take('warm', NEVER_FULL))()
  const from = await meet()
  const until = from + ms
  const stays = []
  const waits = []
  const task = async () => {
    for (let asked = now(); asked < until; asked = now()) {
      const give = await limiter.take('p4', limit)
      const came = now()
      await sleep(5)
      const went = now()
      stays.push([came, went])
      if (came >= from && came < until) waits.push(came - asked)
      await give()
    }
  }
  const running = Array.from({ length: tasks }, task)
  await sleep(from - now())
  const calls = await limiter.calls()
  await sleep(until - now())
  const made = (await limiter.calls()) - calls
  await Promise.all(running)
  await limiter.close()
  return { from, until, stays, waits, calls: made, sent: limiter.sent() }
}

const P4 = {
  title: '4 processes × 50 tasks, limit 10, hold 5 ms',
  limit: 10,
  kept: true,
  work: contend,
  async run(system, url, ms) {
    const share = { ms, limit: 10, tasks: 50 }
    const redis = await redisFigures(url)
    const parts = await together('P4', system, url, [share, share, share, share])
    const after = await redisFigures(url)
    const stays = parts.flatMap((part) => part.stays)
    neverOver(10, stays)
    const served = parts.map((part) => part.waits.length)
    if (system.startsWith('ours')) everybodyServed(served, 'processes')
    const { from, until } = parts[0]
    const inside = ([came, went]) => Math.max(0, Math.min(went, until) - Math.max(came, from))
    const waits = parts.flatMap((part) => part.waits)
    const direct = {}
    for (const [name, many] of parts.flatMap((part) => Object.entries(part.sent)))
      direct[name] = (direct[name] ?? 0) + many
    return {
      'limit used %': (stays.reduce((held, stay) => held + inside(stay), 0) / (10 * ms)) * 100,
      'wait p50 ms': median(waits),
      'wait p99 ms': quantile(waits, 0.99),
      'calls/acquire': parts.reduce((calls, part) => calls + part.calls, 0) / waits.length,
      'commands/acquire': redisTime(redis, after, direct).calls / stays.length, // those of ours have several calls
      'processes max/min': Math.max(...served) / Math.max(1, Math.min(...served)),
      'Redis CPU µs/acquire': (after.cpuUs - redis.cpuUs) / stays.length,
    }
  },
}

const neverFull = workload('one key, 1000 tasks, never full', { tasks: 1000, keyOf: () => 'p1' })
const P1 = {
  ...neverFull,
  tools: ['redis-benchmark'],
  run: (system, url, ms) => (system === 'redis-benchmark' ? pipelinedScripts(url) : neverFull.run(system, url, ms)),
}

export const CHURN = {
  P1,
  P2: workload('1000 keys, 1000 tasks', { tasks: 1000, keyOf: (task) => `p2:${task}` }),
  P3: workload('200 tasks, limit 10, no hold, one process', { tasks: 200, limit: 10, keyOf: () => 'p3' }),
  P4,
  P11: workload('inside one process, 1000 tasks, never full', { tasks: 1000, keyOf: () => 'p11', local: true }),
}
