// P12: what one operation costs when there is more and more of everything. Ours alone; each size in a process of its
// own. Rows are sizes instead of systems.
import { coreThreadCpu, median, now, redisFigures, redisTime, sleep, Violation } from './measure.mjs'
import { together } from './processes.mjs'
import { ioredis } from './systems.mjs'

const OPERATIONS = 100
const LONG_S = 3_600
const SLOW_US = 2_000

/** Limiters of this process (each with a session of its own), and a client that asks Redis what it all cost. */
async function begin(url, sessions) {
  const { createRequire } = await import('node:module')
  const { Limiter } = createRequire(import.meta.url)('../index.js')
  const limiters = Array.from(
    { length: sessions },
    (_, i) => new Limiter(url, { settle: 0, clientName: `growth-${i}` }),
  )
  const redis = ioredis(url)
  await redis.config('SET', 'slowlog-log-slower-than', 500, 'slowlog-max-len', 100_000)
  await redis.slowlog('RESET')
  return { limiters, redis }
}

/** Script µs for one of `OPERATIONS` of which `work` does each when it's called, and the median ms that one took. */
async function cost(url, work) {
  const before = await redisFigures(url)
  const times = []
  for (let i = 0; i < OPERATIONS; i++) {
    const at = now()
    await work(i)
    times.push(now() - at)
  }
  const { usec } = redisTime(before, await redisFigures(url))
  return { us: usec / OPERATIONS, ms: median(times) }
}

/** Redis's CPU for one script call of those that `work` brings about, in ms. Unlike the time that Redis writes down, it
 * doesn't grow when the machine has no core to spare. */
async function batchCpu(url, work) {
  const before = await redisFigures(url)
  await work()
  const after = await redisFigures(url)
  return (after.cpuUs - before.cpuUs) / redisTime(before, after).calls / 1000
}

/** What the process and Redis do by themselves for `ms`. */
async function idle(url, ms) {
  const [redis, core, all, at] = [await redisFigures(url), coreThreadCpu(), process.cpuUsage(), now()]
  await sleep(ms)
  const [passed, coreMs, spent] = [now() - at, coreThreadCpu() - core, process.cpuUsage(all)]
  const after = await redisFigures(url)
  const { calls, usec } = redisTime(redis, after)
  return {
    callsPerSecond: (calls / passed) * 1000,
    redisPercent: usec / passed / 10,
    batchMs: (after.cpuUs - redis.cpuUs) / calls / 1000,
    corePercent: (coreMs / passed) * 100,
    allPercent: (spent.user + spent.system) / passed / 10,
  }
}

async function longestScript(redis) {
  const times = (await redis.slowlog('GET', -1))
    .filter(([, , , [name]]) => /^(evalsha|fcall)$/i.test(name))
    .map(([, , us]) => us)
  return {
    'longest script ms': Math.max(0, ...times) / 1000,
    'scripts > 2 ms': times.filter((us) => us > SLOW_US).length,
  }
}

/** Waits until Redis has `many` in line, for a minute at the most. */
async function inLine(redis, key, many) {
  // The last member of a queue isn't a waiter.
  const waiting = async () => Math.max(0, (await redis.zcard(`cl:{${key}}:queue`)) - 1)
  for (const end = now() + 60_000; (await waiting()) !== many; await sleep(1)) {
    if (now() > end) throw new Error(`not ${many} in line within a minute`)
  }
}

function noneLost(leases) {
  const lost = leases.filter((lease) => lease.lost).length
  if (lost > 0) throw new Violation(`${lost} of ${leases.length} leases were lost`)
}

/** `size` wait for one slot, from two sessions in turn, so that each hand-off is told by push. */
async function line(_, url, { size, ms }) {
  const { limiters, redis } = await begin(url, 2)
  const config = { key: 'line', limit: 1, limitTimeout: LONG_S, limitExpire: LONG_S }
  let asked = 0
  let granted
  let inside = 0
  const join = (signal) => {
    const limiter = limiters[asked++ % 2]
    limiter.acquire({ ...config, signal }).then(
      (lease) => {
        if (++inside > 1) throw new Violation(`${inside} inside at limit 1`)
        granted(lease)
      },
      () => {},
    )
  }
  const next = () => new Promise((resolve) => (granted = resolve))
  const grant = next()
  join()
  let lease = await grant
  // Those whose turn comes while it is measured join one by one, so that no two neighbours are of one session.
  for (let i = 1; i <= Math.min(size, OPERATIONS); i++) {
    join()
    await inLine(redis, 'line', i)
  }
  const batch = await batchCpu(url, async () => {
    for (let i = OPERATIONS; i < size; i++) join()
    await inLine(redis, 'line', size)
  })

  const aborts = Array.from({ length: OPERATIONS }, () => new AbortController())
  const joined = await cost(url, async (i) => {
    join(aborts[i].signal)
    await inLine(redis, 'line', size + i + 1)
  })
  const rest = await idle(url, Math.max(ms, 2_000))
  const left = await cost(url, async (i) => {
    aborts[i].abort()
    await inLine(redis, 'line', size + OPERATIONS - i - 1)
  })
  for (let i = 1; i <= OPERATIONS; i++) {
    join()
    await inLine(redis, 'line', size + i)
  }
  const handed = await cost(url, async () => {
    const grant = next()
    inside--
    lease.release()
    lease = await grant
  })
  return {
    'join: Redis µs': joined.us,
    'leave: Redis µs': left.us,
    'hand-off: Redis µs': handed.us,
    'hand-off p50 ms': handed.ms,
    'idle: calls/s': rest.callsPerSecond,
    'idle: Redis %': rest.redisPercent,
    'idle: own CPU %': rest.allPercent,
    'batch of joins: Redis CPU ms': batch,
    ...(await longestScript(redis)),
  }
}

/**
 * `size` hold of a limit of one more; the one is taken and given. Then with gaps among the slots, then when it's full.
 */
async function held(_, url, { size, ms }) {
  const { limiters, redis } = await begin(url, 1)
  const config = { key: 'held', limit: size + 1, limitTimeout: 60, limitExpire: LONG_S }
  const take = () => limiters[0].acquire(config)
  let leases = []
  const batch = await batchCpu(url, async () => {
    leases = await Promise.all(Array.from({ length: size }, take))
  })
  if (new Set(leases.map((lease) => lease.slot)).size < size) throw new Violation('two hold the same slot')
  const pair = async () => (await take()).release()
  const dense = await cost(url, pair)
  const last = await take()
  const refused = await cost(url, async () => {
    if ((await limiters[0].tryAcquire(config)) !== null) throw new Violation('granted when it was full')
  })
  // The look that a line brings with it, once a second.
  const waiting = new AbortController()
  for (let i = 0; i < 10; i++) limiters[0].acquire({ ...config, signal: waiting.signal }).catch(() => {})
  const rest = await idle(url, Math.max(ms, 2_000))
  waiting.abort()
  await inLine(redis, 'held', 0)
  await last.release()
  await Promise.all(leases.filter((_, i) => i % 2 === 0).map((lease) => lease.release()))
  const gaps = await cost(url, pair)
  noneLost(leases)
  return {
    'pair: Redis µs': dense.us,
    'pair p50 ms': dense.ms,
    'pair among gaps: Redis µs': gaps.us,
    'pair among gaps p50 ms': gaps.ms,
    'refusal: Redis µs': refused.us,
    'idle with a line: core %': rest.corePercent,
    'batch of grants: Redis CPU ms': batch,
    ...(await longestScript(redis)),
  }
}

const RENEWED_S = 6 // the lease that is measured with, so that two rounds of renewals fit in little time
const DEFAULT_S = 60

/** One process holds `size` leases and renews them, each after a third of its length. */
async function renewed(_, url, { size }) {
  const { limiters, redis } = await begin(url, 1)
  const config = { key: 'renewed', limit: size, limitTimeout: 60, limitExpire: RENEWED_S }
  const leases = await Promise.all(Array.from({ length: size }, () => limiters[0].acquire(config)))
  const rounds = 2
  const ms = (RENEWED_S / 3) * 1000 * rounds
  await sleep(ms / rounds / 2)
  const rest = await idle(url, ms)
  noneLost(leases)
  const each = (percent) => (percent * 10 * ms) / size / rounds
  const atDefault = RENEWED_S / DEFAULT_S
  return {
    'per renewal: core µs': each(rest.corePercent),
    'per renewal: process µs': each(rest.allPercent),
    'per renewal: Redis µs': each(rest.redisPercent),
    [`calls/s, lease ${RENEWED_S} s`]: rest.callsPerSecond,
    [`core %, lease ${DEFAULT_S} s`]: rest.corePercent * atDefault,
    [`process %, lease ${DEFAULT_S} s`]: rest.allPercent * atDefault,
    [`Redis %, lease ${DEFAULT_S} s`]: rest.redisPercent * atDefault,
    'batch of renewals: Redis CPU ms': rest.batchMs,
    ...(await longestScript(redis)),
  }
}

function grows(name, title, unit, sizes, work) {
  return {
    title,
    alone: true,
    work,
    async run(_, url, ms) {
      const rows = {}
      const redis = ioredis(url)
      for (const size of sizes) {
        await redis.flushall()
        ;[rows[`${size.toLocaleString('en')} ${unit}`]] = await together(name, 'ours', url, [{ size, ms }])
      }
      return { rows }
    },
  }
}

const TENFOLD = [10, 100, 1_000, 10_000, 100_000]

export const GROWTH = {
  'P12-line': grows('P12-line', 'a longer and longer line at limit 1, two sessions in turn', 'waiting', TENFOLD, line),
  'P12-held': grows('P12-held', 'more and more held by one process', 'held', TENFOLD, held),
  'P12-renewed': grows(
    'P12-renewed',
    'more and more leases renewed by one process',
    'renewed',
    [1, 10, 100, 1_000, 10_000],
    renewed,
  ),
}
