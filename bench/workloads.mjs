// The workloads. Each runs in a process of its own, `work(system, url, share)` of it once or in several processes at the
// same time, and gives figures; `sum` makes one row of what the processes found.
import { fork } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { mainThreadCpu, median, now, quantile, scriptTime, sleep, Watch } from './measure.mjs'
import { open } from './systems.mjs'

const NEVER_FULL = 1_000_000

/** `tasks` tasks take and give for `ms`; figures of the whole. */
async function churn(system, url, { tasks, limit, ms, keyOf, hold = 0 }) {
  const limiter = await open(system, url)
  const watches = new Map()
  const waits = []
  const turns = new Array(tasks).fill(0)
  await (await limiter.take('warm', NEVER_FULL))()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const before = { at: now(), cpu: mainThreadCpu(), all: process.cpuUsage(), redis: await scriptTime(url) }
  const calls = await limiter.calls()
  const end = now() + ms
  let held = 0
  await Promise.all(
    turns.map(async (_, task) => {
      const key = keyOf(task)
      if (!watches.has(key)) watches.set(key, new Watch(limit))
      const watch = watches.get(key)
      while (now() < end) {
        const asked = now()
        const give = await limiter.take(key, limit)
        const granted = now()
        waits.push(granted - asked)
        watch.enter()
        if (hold > 0) await sleep(hold)
        held += now() - granted
        watch.leave()
        await give()
        turns[task]++
      }
    }),
  )
  const pairs = turns.reduce((a, b) => a + b)
  const all = process.cpuUsage(before.all)
  const figures = {
    pairs,
    ms: now() - before.at,
    held,
    waits,
    turns,
    mainUs: ((mainThreadCpu() - before.cpu) * 1000) / pairs,
    cpuUs: (all.user + all.system) / pairs,
    redisUs: ((await scriptTime(url)) - before.redis) / pairs,
    calls: (await limiter.calls()) - calls,
    loopDelay: delay.percentile(99) / 1e6,
  }
  await limiter.close()
  return figures
}

function throughput({ pairs, ms, waits, turns, mainUs, cpuUs, redisUs, loopDelay }) {
  return {
    'pairs/s': (pairs / ms) * 1000,
    'wait p50 ms': median(waits),
    'wait p99 ms': quantile(waits, 0.99),
    'turns max/min': Math.max(...turns) / Math.max(1, Math.min(...turns)),
    'main µs/pair': mainUs,
    'all µs/pair': cpuUs,
    'Redis µs/pair': redisUs,
    'loop delay p99 ms': loopDelay,
  }
}

/** Runs `work` of a workload in child processes, all at the same time; what each gave. */
function together(name, system, url, shares) {
  const file = fileURLToPath(new URL('one.mjs', import.meta.url))
  return Promise.all(
    shares.map(
      (share) =>
        new Promise((resolve, reject) => {
          const child = fork(file, [name, system, url, JSON.stringify(share)], { timeout: 120_000 })
          let answer
          child.on('message', (message) => {
            answer = message
          })
          child.once('exit', (code) => (answer ? resolve(answer) : reject(new Error(`${system}: exit ${code}`))))
        }),
    ),
  )
}

export const WORKLOADS = {
  P1: {
    title: 'one key, 1000 tasks, never full',
    limit: NEVER_FULL,
    run: async (system, url, ms) =>
      throughput(await churn(system, url, { tasks: 1000, limit: NEVER_FULL, ms, keyOf: () => 'p1' })),
  },
  P2: {
    title: '1000 keys, 1000 tasks',
    limit: NEVER_FULL,
    run: async (system, url, ms) =>
      throughput(await churn(system, url, { tasks: 1000, limit: NEVER_FULL, ms, keyOf: (task) => `p2:${task}` })),
  },
  P3: {
    title: '200 tasks, limit 10, no hold, one process',
    limit: 10,
    run: async (system, url, ms) =>
      throughput(await churn(system, url, { tasks: 200, limit: 10, ms, keyOf: () => 'p3' })),
  },
  P4: {
    title: '4 processes × 50 tasks, limit 10, hold 5 ms',
    limit: 10,
    work: (system, url, { ms }) => churn(system, url, { tasks: 50, limit: 10, ms, hold: 5, keyOf: () => 'p4' }),
    async run(system, url, ms) {
      const parts = await together(
        'P4',
        system,
        url,
        Array.from({ length: 4 }, () => ({ ms })),
      )
      const pairs = parts.map((part) => part.pairs)
      const total = pairs.reduce((a, b) => a + b)
      const waits = parts.flatMap((part) => part.waits)
      const longest = Math.max(...parts.map((part) => part.ms))
      return {
        'limit used %': (parts.reduce((sum, part) => sum + part.held, 0) / (10 * longest)) * 100,
        'wait p50 ms': median(waits),
        'wait p99 ms': quantile(waits, 0.99),
        'calls/acquire': parts.reduce((sum, part) => sum + part.calls, 0) / total,
        'processes max/min': Math.max(...pairs) / Math.max(1, Math.min(...pairs)),
      }
    },
  },
  P5: {
    title: 'hand-off between two processes',
    limit: 1,
    async work(system, url, { rounds, first }) {
      const limiter = await open(system, url)
      const gone = []
      const come = []
      if (!first) await sleep(300)
      for (let round = 0; round < rounds; round++) {
        const give = await limiter.take('p5', 1)
        come.push(now())
        await sleep(20)
        gone.push(now())
        await give()
        await sleep(1)
      }
      await limiter.close()
      return { gone, come }
    },
    async run(system, url) {
      const [a, b] = await together('P5', system, url, [
        { rounds: 60, first: true },
        { rounds: 60, first: false },
      ])
      // A hand-off is a grant in one process right after a release in the other.
      const marks = [a, b].flatMap(({ gone, come }, of) => [
        ...gone.map((at) => ({ at, of, gone: true })),
        ...come.map((at) => ({ at, of, gone: false })),
      ])
      marks.sort((x, y) => x.at - y.at)
      const times = marks.flatMap((mark, i) => {
        const before = marks[i - 1]
        return !mark.gone && before?.gone && before.of !== mark.of ? [mark.at - before.at] : []
      })
      return { 'p50 ms': median(times), 'p99 ms': quantile(times, 0.99), 'hand-offs': times.length }
    },
  },
  P6: {
    title: '500 idle waiters of one process, one key',
    limit: 1,
    async run(system, url, ms) {
      const limiter = await open(system, url)
      const give = await limiter.take('p6', 1)
      const waiters = Array.from({ length: 500 }, () => limiter.take('p6', 1).then((giveBack) => giveBack()))
      await sleep(1_000)
      const [calls, redis, cpu, at] = [await limiter.calls(), await scriptTime(url), process.cpuUsage(), now()]
      await sleep(ms)
      const spent = process.cpuUsage(cpu)
      const passed = now() - at
      const row = {
        'calls/s': (((await limiter.calls()) - calls) / passed) * 1000,
        'Redis %': ((await scriptTime(url)) - redis) / passed / 10,
        'own CPU %': (spent.user + spent.system) / passed / 10,
      }
      await give()
      await Promise.all(waiters)
      await limiter.close()
      return row
    },
  },
  P7: {
    title: 'one task, uncontended',
    limit: NEVER_FULL,
    async run(system, url, ms) {
      const limiter = await open(system, url)
      const times = []
      const end = now() + ms
      while (now() < end) {
        const at = now()
        await (await limiter.take('p7', NEVER_FULL))()
        times.push((now() - at) * 1000)
      }
      await limiter.close()
      return { 'pair p50 µs': median(times), 'pair p99 µs': quantile(times, 0.99) }
    },
  },
  P10: {
    title: 'cold: require, first acquire, release, exit',
    limit: 10,
    async work(system, url) {
      const limiter = await open(system, url)
      await (await limiter.take('p10', 10))()
      const rss = process.memoryUsage.rss()
      await limiter.close()
      return { rss }
    },
    async run(system, url) {
      const bare = []
      const times = []
      const memory = []
      for (let i = 0; i < 5; i++) {
        let at = now()
        const [nothing] = await together('nothing', system, url, [{}])
        bare.push(now() - at)
        at = now()
        const [one] = await together('P10', system, url, [{}])
        times.push(now() - at)
        memory.push((one.rss - nothing.rss) / 2 ** 20)
      }
      return { 'over bare Node ms': median(times) - median(bare), 'memory MiB': median(memory) }
    },
  },
  P11: {
    title: 'inside one process, 1000 tasks, never full',
    limit: NEVER_FULL,
    local: true,
    run: async (system, _, ms) =>
      throughput(
        await churn(system, 'memory:', {
          tasks: 1000,
          limit: NEVER_FULL,
          ms,
          keyOf: () => 'p11',
        }),
      ),
  },
  nothing: { hidden: true, work: async () => ({ rss: process.memoryUsage.rss() }) },
}
