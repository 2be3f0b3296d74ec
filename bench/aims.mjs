// The aims: which figure is judged, from which workloads it is read, and what is asked of it.
//
// A figure that the run didn't measure is NaN, and the aim is neither met nor missed. Ratios are of medians of one run.

/** Ours over theirs in a column. */
const over = (workload, column, peer) => (r) => r[workload]?.ours?.[column] / r[workload]?.[peer]?.[column]
const ours = (workload, column) => (r) => r[workload]?.ours?.[column]
/** The same of ours with limitKeep. */
const keptOver = (workload, column, peer) => (r) => r[workload]?.['ours kept']?.[column] / r[workload]?.[peer]?.[column]
const kept = (workload, column) => (r) => r[workload]?.['ours kept']?.[column]
/** One of ours over another of ours. */
const within = (workload, column, other) => (r) => r[workload]?.ours?.[column] / r[workload]?.ours?.[other]

/** How often as much the largest size costs as the one of ten, in the column that grew most. */
const growth = (workload, columns) => (r) => {
  const rows = Object.entries(r[workload] ?? {})
  const ten = rows.find(([size]) => size.startsWith('10 '))?.[1]
  return Math.max(...columns.map((column) => rows.at(-1)?.[1][column] / ten?.[column]))
}
const lastOf = (workload, column) => (r) => Object.values(r[workload] ?? {}).at(-1)?.[column]
const longestOf = (workloads) => (r) =>
  Math.max(...workloads.flatMap((name) => Object.values(r[name] ?? {}).map((row) => row['longest script ms'])))

const atLeast = (bound) => ({ asked: `≥ ${bound}`, met: (figure) => figure >= bound })
const atMost = (bound) => ({ asked: `≤ ${bound}`, met: (figure) => figure <= bound })

const GROWTH = ['P12-line', 'P12-held', 'P12-renewed']
const SEMAPHORE = 'redis-semaphore'

const aim = (name, what, from, figure, bound) => ({ name, what, from, figure, ...bound })

/** What one process gains that keeps its slots. */
const alone = (name) => [
  aim(name, `limitKeep, pairs/s, × ${SEMAPHORE}`, [name], keptOver(name, 'pairs/s', SEMAPHORE), atLeast(4)),
  aim(name, 'limitKeep, calls per pair', [name], kept(name, 'calls/pair'), atMost(0.02)),
]

export const AIMS = [
  aim('P1', `pairs/s, × ${SEMAPHORE}`, ['P1'], over('P1', 'pairs/s', SEMAPHORE), atLeast(4)),
  aim('P1', 'pairs/s, × redis-benchmark', ['P1'], over('P1', 'pairs/s', 'redis-benchmark'), atLeast(1)),
  ...alone('P1'),
  aim('P2', `pairs/s, × ${SEMAPHORE}`, ['P2'], over('P2', 'pairs/s', SEMAPHORE), atLeast(2)),
  ...alone('P2'),
  aim('P3', `pairs/s, × ${SEMAPHORE}`, ['P3'], over('P3', 'pairs/s', SEMAPHORE), atLeast(3)),
  aim('P3', 'turns of a task, max/min', ['P3'], ours('P3', 'turns max/min'), atMost(1.2)),
  aim('P3', 'wait p99, × p50', ['P3'], within('P3', 'wait p99 ms', 'wait p50 ms'), atMost(2)),
  aim('P4', 'limit used, %', ['P4'], ours('P4', 'limit used %'), atLeast(96)),
  aim('P4', 'calls per acquire', ['P4'], ours('P4', 'calls/acquire'), atMost(3)),
  aim('P4', 'wait p99, × p50', ['P4'], within('P4', 'wait p99 ms', 'wait p50 ms'), atMost(1.3)),
  aim('P4', 'turns of a process, max/min', ['P4'], ours('P4', 'processes max/min'), atMost(1.05)),
  aim('P4', 'limitKeep, limit used, × without', ['P4'], keptOver('P4', 'limit used %', 'ours'), atLeast(0.97)),
  aim('P4', 'limitKeep, calls per acquire, × without', ['P4'], keptOver('P4', 'calls/acquire', 'ours'), atMost(1.03)),
  aim('P5', 'hand-off p50, × PING', ['P5'], ours('P5', 'p50 in PINGs'), atMost(2.5)),
  aim('P5', 'hand-off p99, ms', ['P5'], ours('P5', 'p99 ms'), atMost(5)),
  aim('P6', 'idle line: calls/s', ['P6'], ours('P6', 'calls/s'), atMost(2)),
  aim('P6', 'idle line: own CPU, %', ['P6'], ours('P6', 'own CPU %'), atMost(1)),
  aim('P6', "idle line: Redis's CPU, %", ['P6'], ours('P6', 'Redis CPU %'), atMost(1)),
  aim('P7', 'pair p50, × bare EVALSHA', ['P7'], over('P7', 'pair p50 µs', 'bare EVALSHA'), atMost(1.5)),
  ...['each way', 'there and back'].map((way) =>
    aim(
      'P7',
      `… 0.5 ms of delay ${way}`,
      ['P7-delayed'],
      over('P7-delayed', `pair p50 µs, ${way}`, 'bare EVALSHA'),
      atMost(1.03),
    ),
  ),
  ...['each way', 'there and back'].map((way) =>
    aim(
      'P7',
      `… ${way}, await using`,
      ['P7-delayed'],
      (r) =>
        r['P7-delayed']?.['ours scoped']?.[`pair p50 µs, ${way}`] /
        r['P7-delayed']?.['bare EVALSHA']?.[`pair p50 µs, ${way}`],
      atMost(0.6), // one round trip instead of two
    ),
  ),
  aim('P7', `limitKeep, pair p50, × ${SEMAPHORE}`, ['P7'], keptOver('P7', 'pair p50 µs', SEMAPHORE), atMost(0.1)),
  aim('P7', '`memory:`, pair p50, µs', ['P7-memory'], ours('P7-memory', 'pair p50 µs'), atMost(15)),
  aim('P8', `JavaScript thread per pair, × ${SEMAPHORE}`, ['P1'], over('P1', 'main µs/pair', SEMAPHORE), atMost(0.2)),
  aim('P8', `loop delay p99, × ${SEMAPHORE}`, ['P1'], over('P1', 'loop delay p99 ms', SEMAPHORE), atMost(1)),
  aim('P9', `Redis per lone pair, × ${SEMAPHORE}`, ['P7'], over('P7', 'Redis µs/pair', SEMAPHORE), atMost(3)),
  aim('P9', `Redis per pair of P1, × ${SEMAPHORE}`, ['P1'], over('P1', 'Redis µs/pair', SEMAPHORE), atMost(0.5)),
  aim('P10', `cold start, × ${SEMAPHORE}`, ['P10'], over('P10', 'over bare Node ms', SEMAPHORE), atMost(0.4)),
  aim('P10', `memory added, × ${SEMAPHORE}`, ['P10'], over('P10', 'memory MiB', SEMAPHORE), atMost(0.333)),
  aim('P11', 'pairs/s, × p-limit', ['P11'], over('P11', 'pairs/s', 'p-limit'), atLeast(1.5)),
  aim('P11', 'loop delay p99, ms', ['P11'], ours('P11', 'loop delay p99 ms'), atMost(25)),
  aim(
    'P12',
    'join, leave, hand-off: 100,000 waiting × 10',
    ['P12-line'],
    growth('P12-line', ['join: Redis µs', 'leave: Redis µs', 'hand-off: Redis µs', 'hand-off p50 ms']),
    atMost(5), // log 100,000 ÷ log 10
  ),
  aim(
    'P12',
    'pair, refusal: 100,000 held × 10',
    ['P12-held'],
    growth('P12-held', ['pair: Redis µs', 'pair p50 ms', 'pair among gaps: Redis µs', 'refusal: Redis µs']),
    atMost(5),
  ),
  aim(
    'P12',
    'one renewal: 10,000 leases × 10',
    ['P12-renewed'],
    growth('P12-renewed', ['per renewal: process µs', 'per renewal: Redis µs']),
    atMost(4),
  ),
  aim('P12', '10,000 renewed: core, %', ['P12-renewed'], lastOf('P12-renewed', 'core %, lease 60 s'), atMost(1)),
  aim('P12', '10,000 renewed: Redis, %', ['P12-renewed'], lastOf('P12-renewed', 'Redis %, lease 60 s'), atMost(1)),
  aim(
    'P12',
    '100,000 held and a line: core, %',
    ['P12-held'],
    lastOf('P12-held', 'idle with a line: core %'),
    atMost(1),
  ),
  ...[
    ['line', 'joins'],
    ['held', 'grants'],
    ['renewed', 'renewals'],
  ].map(([name, what]) =>
    aim(
      'P12',
      `a full batch of ${what}, Redis CPU, ms`,
      [`P12-${name}`],
      lastOf(`P12-${name}`, `batch of ${what}: Redis CPU ms`),
      atMost(2),
    ),
  ),
  aim('P12', 'longest script, ms; idle machines only', GROWTH, longestOf(GROWTH), atMost(2)),
  aim('P13', 'kept by another session: p99, × PING p99', ['P13'], ours('P13', 'p99 in PINGs'), atMost(3)),
]
