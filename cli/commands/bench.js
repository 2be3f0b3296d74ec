'use strict'

const { randomBytes } = require('node:crypto')
const { expectPositionals } = require('../arguments.js')
const { codeOfSignal } = require('../child.js')
const { withLimiter } = require('../connection.js')
const { codes } = require('../exits.js')
const { table } = require('../text.js')

const HEADS = ['LOAD', 'PAIRS/S', 'P50', 'P99', 'REDIS']
const cellsOf = ({ name, pairsPerSecond, p50Ms, p99Ms, redisUsPerPair }) => [
  name,
  String(pairsPerSecond),
  p50Ms === null ? '-' : `${p50Ms.toFixed(2)} ms`,
  p99Ms === null ? '-' : `${p99Ms.toFixed(2)} ms`,
  redisUsPerPair === null ? '-' : `${redisUsPerPair} µs`,
]

/** What the servers have spent in scripts and functions, in µs; null where they don't tell. */
async function usedUs(servers) {
  let used = 0
  for (const { connection } of servers) {
    const stats = await connection.ask('INFO', 'commandstats').catch(() => null)
    if (stats === null) return null
    for (const [, us] of stats.matchAll(/^cmdstat_(?:evalsha|eval|fcall):calls=\d+,usec=(\d+)/gm)) used += Number(us)
  }
  return used
}

/** Removes all keys of a prefix that is ours alone; how many. */
async function removeAll(servers, prefix) {
  let removed = 0
  for (const { connection } of servers) {
    let cursor = '0'
    do {
      const [next, keys] = await connection.ask('SCAN', cursor, 'MATCH', `${prefix}:*`, 'COUNT', 1000)
      // One by one: those of a cluster's hash slots can't be named together.
      removed += (await Promise.all(keys.map((key) => connection.ask('UNLINK', key)))).reduce((sum, n) => sum + n, 0)
      cursor = next
    } while (cursor !== '0')
  }
  return removed
}

module.exports = {
  name: 'bench',
  summary: 'a short load on this Redis: pairs per second, hand-off, Redis µs',
  usage: '[--seconds S] [--tasks N]',
  about: [
    'Acquires and releases for some seconds, in four ways, on keys of its own, which it removes afterwards. It loads the',
    'server as much as one process can: think before you run it on one in production.',
    'The last column is the time that Redis spent in scripts and functions, for each pair; of all its clients.',
  ],
  options: {
    seconds: { value: 'S', number: true, help: 'seconds for each of the four loads, 0.1 to 60; default: 2' },
    tasks: { value: 'N', number: true, help: 'how many tasks at once, 1 to 1000; default: 100' },
  },
  examples: [
    ['concurrency-limit bench', 'eight seconds'],
    ['concurrency-limit bench --seconds 10 --json', 'for programs'],
  ],
  others: [['128+N', 'ended by signal N (130: Ctrl-C); the keys are removed']],
  exits: [],
  async run({ values, positionals, connection, out, integer, seconds }) {
    expectPositionals(positionals, 0, 0)
    const ms = seconds('seconds', values.seconds ?? 2, 0.1, 60) * 1000
    const tasks = integer('tasks', values.tasks ?? 100, 1, 1000)
    const options = connection()
    const keyPrefix = `${options.keyPrefix ?? 'cl'}:bench-${randomBytes(6).toString('hex')}`
    const ending = new AbortController()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => ending.abort(signal))
    const { openServers } = require('../server/servers.js')
    const { PART_NAMES, measure } = require('../bench/parts.js')
    const open = (clientName, work) => withLimiter({ ...options, keyPrefix, clientName }, work)
    const load = (servers) =>
      open('concurrency-limit-bench-1', (one) =>
        open('concurrency-limit-bench-2', async (two) => {
          for (const limiter of [one, two]) await limiter.status('lone') // connected before anything is measured
          const parts = []
          for (const name of PART_NAMES) {
            if (ending.signal.aborted) break
            parts.push(await measure(name, { one, two }, { tasks, ms, signal: ending.signal }, () => usedUs(servers)))
          }
          return parts
        }),
      )
    await withLimiter(options, (limiter) => limiter.status('concurrency-limit-bench')) // says best what is wrong
    const { servers, close } = await openServers(options)
    try {
      const parts = await load(servers).finally(() => removeAll(servers, keyPrefix))
      if (values.json) out.json({ seconds: ms / 1000, tasks, parts })
      else out.lines(table([HEADS.map(out.look.pen.dim), ...parts.map(cellsOf)]))
      return ending.signal.aborted ? codeOfSignal(ending.signal.reason) : codes.ok
    } finally {
      close()
    }
  },
}
