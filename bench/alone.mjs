// Workloads in which few ask: the hand-off (P5), the idle line (P6), the lone pair (P7), the cold start (P10).
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { median, neverOver, now, quantile, redisFigures, redisTime, sleep, Watch } from './measure.mjs'
import { meet, together } from './processes.mjs'
import { ioredis, NEVER_FULL, open } from './systems.mjs'

/** One process of P5: takes, holds for 20 ms with a PING half-way, gives; and so on. */
async function takeTurns(system, url, { rounds, first }) {
  const limiter = await open(system, url)
  const bare = ioredis(url)
  const [stays, pings] = [[], []]
  await bare.ping()
  // A client that is connected: how long that takes is P10's.
  const giveBack = await limiter.take('warm', NEVER_FULL)
  await giveBack()
  await meet()
  if (!first) await sleep(10) // the first holds: the other begins in line
  for (let round = 0; round < rounds; round++) {
    const give = await limiter.take('p5', 1)
    const came = now()
    await sleep(10)
    const asked = now()
    await bare.ping()
    pings.push(now() - asked)
    await sleep(10)
    stays.push([came, now()])
    await give()
    await sleep(15) // less than the other holds, more than a poll: nobody takes twice in a row
  }
  await limiter.close()
  return { stays, pings }
}

const P5 = {
  title: 'hand-off between two processes, beside a PING of the same two',
  limit: 1,
  work: takeTurns,
  async run(system, url, ms) {
    const rounds = Math.max(25, Math.round(ms * 0.03))
    const parts = await together('P5', system, url, [
      { rounds, first: true },
      { rounds, first: false },
    ])
    const stays = parts.flatMap((part, of) => part.stays.map(([came, went]) => ({ of, came, went })))
    neverOver(
      1,
      stays.map(({ came, went }) => [came, went]),
    )
    stays.sort((x, y) => x.came - y.came)
    // A hand-off is a grant in one process right after the other's release.
    const times = stays.flatMap(({ of, came }, i) =>
      i > 0 && stays[i - 1].of !== of ? [came - stays[i - 1].went] : [],
    )
    const ping = median(parts.flatMap((part) => part.pings))
    const p50 = median(times)
    return {
      'p50 ms': p50,
      'p99 ms': quantile(times, 0.99),
      'PING p50 ms': ping,
      'p50 in PINGs': p50 / ping,
      'hand-offs': times.length,
    }
  },
}

const P6 = {
  title: '500 idle waiters of one process, one key',
  limit: 1,
  async run(system, url, ms) {
    const limiter = await open(system, url)
    const watch = new Watch(1)
    const give = await limiter.take('p6', 1)
    const waiters = Array.from({ length: 500 }, async () => {
      const giveBack = await limiter.take('p6', 1)
      watch.enter()
      watch.leave()
      await giveBack()
    })
    await sleep(1_000)
    const [calls, redis, cpu, at] = [await limiter.calls(), await redisFigures(url), process.cpuUsage(), now()]
    await sleep(Math.max(ms, 3_000))
    const spent = process.cpuUsage(cpu)
    const passed = now() - at
    const after = await redisFigures(url)
    const row = {
      'calls/s': (((await limiter.calls()) - calls) / passed) * 1000,
      'Redis CPU %': (after.cpuUs - redis.cpuUs) / passed / 10,
      'own CPU %': (spent.user + spent.system) / passed / 10,
    }
    await give()
    await Promise.all(waiters)
    await limiter.close()
    return row
  },
}

/** Pairs of one task, one after the other, for `ms`: µs of each, and Redis's time for one. */
async function loneTask(system, url, ms) {
  const limiter = await open(system, url)
  await (await limiter.take('p7', NEVER_FULL))()
  const [times, sent, redis] = [[], limiter.sent(), await redisFigures(url)]
  for (let asked = now(), end = asked + ms; asked < end; asked = now()) {
    await (await limiter.take('p7', NEVER_FULL))()
    times.push((now() - asked) * 1000)
  }
  const after = await redisFigures(url)
  const direct = Object.entries(limiter.sent()).map(([name, many]) => [name, many - (sent[name] ?? 0)])
  await limiter.close()
  return { times, redisUs: redisTime(redis, after, Object.fromEntries(direct)).usec / times.length }
}

const P7 = {
  title: 'one task, uncontended',
  limit: NEVER_FULL,
  scoped: true,
  kept: true,
  async run(system, url, ms) {
    const { times, redisUs } = await loneTask(system, url, ms)
    return { 'pair p50 µs': median(times), 'pair p99 µs': quantile(times, 0.99), 'Redis µs/pair': redisUs }
  },
}

const P7_MEMORY = {
  title: 'one task, uncontended, inside one process',
  limit: NEVER_FULL,
  local: true,
  kept: true,
  async run(system, _url, ms) {
    const { times } = await loneTask(system, 'memory:', ms)
    return { 'pair p50 µs': median(times), 'pair p99 µs': quantile(times, 0.99) }
  },
}

const PROXY = fileURLToPath(new URL('proxy.mjs', import.meta.url))

/** Does `work` with the address of a proxy that delays by `delayMs` each way. */
async function delayed(url, delayMs, work) {
  const proxy = fork(PROXY, [new URL(url).port, String(delayMs)])
  try {
    const port = await new Promise((resolve, reject) => {
      proxy.once('message', resolve)
      proxy.once('exit', () => reject(new Error('the proxy ended')))
    })
    return await work(`redis://127.0.0.1:${port}`)
  } finally {
    proxy.kill()
  }
}

const P7_DELAYED = {
  title: 'one task, uncontended, 0.5 ms of network delay: each way, or there and back',
  limit: NEVER_FULL,
  scoped: true,
  kept: true,
  not: ['bottleneck'], // its disconnect doesn't wait for what is under way, and rejects
  async run(system, url, ms) {
    const p50 = async (delayMs) =>
      median(await delayed(url, delayMs, async (far) => (await loneTask(system, far, ms)).times))
    return { 'pair p50 µs, each way': await p50(0.5), 'pair p50 µs, there and back': await p50(0.25) }
  },
}

/** How long somebody else takes to get a slot that is kept, beside a PING of theirs. */
const P13 = {
  title: 'a slot that another session keeps, beside a PING',
  alone: true,
  async run(_system, url, ms) {
    const [keeper, other, bare] = [await open('ours kept', url), await open('ours', url), ioredis(url)]
    await bare.ping()
    const [times, pings] = [[], []]
    for (let n = 0, end = now() + ms; n < 25 || now() < end; n++) {
      const key = `p13:${n}` // once a key: for some seconds after that nothing is kept there
      await (await keeper.take(key, 1))()
      const asked = now()
      await bare.ping()
      const from = now()
      const give = await other.take(key, 1)
      times.push(now() - from)
      pings.push(from - asked)
      await give()
    }
    await Promise.all([keeper.close(), other.close()])
    bare.disconnect()
    const at = (part) => quantile(times, part) / quantile(pings, part)
    return {
      'p50 ms': median(times),
      'p99 ms': quantile(times, 0.99),
      'PING p99 ms': quantile(pings, 0.99),
      'p50 in PINGs': at(0.5),
      'p99 in PINGs': at(0.99),
    }
  },
}

const P10 = {
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
    const [bare, times, memory] = [[], [], []]
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
}

const nothing = { hidden: true, work: async () => ({ rss: process.memoryUsage.rss() }) }

export const ALONE = { P5, P6, P7, 'P7-memory': P7_MEMORY, 'P7-delayed': P7_DELAYED, P10, P13, nothing }
