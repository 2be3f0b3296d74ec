// One process of a day: does the tasks that it's told of, and writes down what it asked, what it was told and what it
// believes, with the machine's monotonic clock in ms. The observer reads that; nothing is judged here.
//
// A line is `[what, at, …]`:
//   asked n task lease-terms · granted n { leaseId, token, slots, standIn } · good [n …] · out n good · released n gone
//   settled n outcome message · aborting n · late n ms · gap ms · warning text
// `good` says that `lost` of those leases was read false at that moment; `out` that their task is through with the
// lease.
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'
import { Cluster, Redis } from 'ioredis'
import { createClient } from 'redis'
import { now } from './moment.mjs'
import { drawer } from './random.mjs'

const TICK_MS = 10
const GAP_MS = 60
const LATE_MS = 100

const { file, name, seed, where, client: kind, connection, tasks } = JSON.parse(process.argv[2])
const random = drawer(seed)
const out = openSync(file, 'a')
const note = (what, ...rest) => writeSync(out, `${JSON.stringify([what, now(), ...rest])}\n`)
const noteAt = (what, at, ...rest) => writeSync(out, `${JSON.stringify([what, at, ...rest])}\n`)

process.on('warning', ({ name, message }) => note('warning', `${name}: ${message}`))
process.on('unhandledRejection', (error) => note('warning', `unhandled rejection: ${error?.stack ?? error}`))
process.on('disconnect', () => isEnding || process.exit(3))

// --- the Limiter ----------------------------------------------------------------------------------------------------

const silent = () => {}

// Without a bound of its own a client waits for ever on a connection that has died without a word.
const BOUNDS = { connectTimeout: 1_000, socketTimeout: 2_000 }

const BRING = {
  ioredis: ({ cluster, redisOptions, ...rest }) => {
    const bounds = { ...BOUNDS, sentinelCommandTimeout: 1_000 }
    const client = cluster
      ? new Cluster(cluster, { redisOptions: { ...redisOptions, ...bounds }, slotsRefreshTimeout: 1_000 })
      : new Redis({ ...rest, ...bounds })
    client.on('error', silent)
    return { client, end: () => client.disconnect() }
  },
  'node-redis': async ({ socket, ...rest }) => {
    // Its own strategy gives up for good after a time-out of the socket.
    const reconnectStrategy = (times) => Math.min(50 * times, 500)
    const patient = { ...socket, ...BOUNDS, reconnectStrategy }
    const client = createClient({ ...rest, socket: patient, pingInterval: 500 }).on('error', silent)
    await client.connect()
    return { client, end: () => client.destroy() }
  },
}

const brought = kind === undefined ? undefined : await BRING[kind](where)
let limiter = makeLimiter()

function makeLimiter() {
  const made = new Limiter(brought ? { ...connection, client: brought.client } : { ...connection, ...where })
  for (const event of ['warning', 'pushUnavailable', 'disconnect', 'reconnect', 'lost']) {
    made.on(event, (detail) => note('event', event, detail.message ?? detail.why))
  }
  return made
}

// --- what is believed -----------------------------------------------------------------------------------------------

const inside = new Map() // number of a request → how to see whether its lease is lost
let last = 0
let lastTick = now()

setInterval(() => {
  const at = now()
  if (at - lastTick > GAP_MS) noteAt('gap', at, at - lastTick)
  lastTick = at
  const good = []
  for (const [n, view] of inside) {
    if (!view.isLost()) good.push(n)
    else if (!view.signal.aborted) {
      view.lostAt ??= at
      if (at - view.lostAt > LATE_MS && !view.isLate) {
        view.isLate = true
        noteAt('late', at, n, at - view.lostAt)
      }
    }
  }
  if (good.length > 0) noteAt('good', at, good)
}, TICK_MS).unref()

// --- tasks ----------------------------------------------------------------------------------------------------------

let isFinishing = false
let lasting = new AbortController()

const STEPS = {
  'in its own turn': (abort) => abort(),
  microtask: (abort) => queueMicrotask(abort),
  nextTick: (abort) => process.nextTick(abort),
  setImmediate: (abort) => setImmediate(abort),
  'a timer': (abort) => setTimeout(abort, random.between(0, 30)),
  'a long timer': (abort) => setTimeout(abort, random.between(30, 1500)),
}

function signalFor(n, task) {
  if (random.chance(task.aborts)) {
    const controller = new AbortController()
    const abort = () => {
      note('aborting', n)
      controller.abort()
    }
    return { signal: controller.signal, start: () => STEPS[random.pick(Object.keys(STEPS))](abort) }
  }
  return { signal: task.sharesSignal ? lasting.signal : undefined, start: silent }
}

function outcomeOf(error, signal) {
  if (signal?.aborted && error === signal.reason) return 'aborted'
  return error?.code ?? `${error?.name}`
}

async function ask(task, config) {
  const n = ++last
  const { signal, start } = signalFor(n, task)
  const { limitTimeout = 10 } = config
  note('asked', n, task.id, task.tries ? 0 : limitTimeout)
  const asked = task.tries ? limiter.tryAcquire({ ...config, signal }) : limiter.acquire({ ...config, signal })
  start()
  try {
    const lease = await asked
    note('settled', n, lease === null ? 'full' : 'granted')
    return { n, lease }
  } catch (error) {
    note('settled', n, outcomeOf(error, signal), error?.message)
    return { n, lease: null }
  }
}

async function pass(task, config) {
  let { n, lease } = await ask(task, config)
  if (lease === null) return
  // The moment first: a process that is stopped right after it must not seem to have entered later than it looked.
  const at = now()
  const { leaseId, fencingToken: token, slots, standIn, signal } = lease
  const isGood = !lease.lost
  noteAt('granted', at, n, { leaseId, token, slots, standIn, isGood })
  const lost = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  if (task.forgets && !standIn) {
    lease = null
    return forget(n, signal, lost)
  }
  const held = lease
  inside.set(n, { isLost: () => held.lost, signal })
  if (!signal.aborted) await Promise.race([sleep(random.between(...task.hold)), lost])
  inside.delete(n)
  noteAt('out', now(), n, !held.lost)
  const gone = await held.release()
  note('released', n, gone)
}

/** Nobody has the lease any more, only its signal: it ends with limitHold. */
async function forget(n, signal, lost) {
  inside.set(n, { isLost: () => signal.aborted, signal })
  if (!signal.aborted) await lost
  inside.delete(n)
  note('out', n, false)
}

async function run(task, number) {
  const config = { ...task.config }
  if (task.holder === 'own') config.holder = `${name} ${task.id} ${number}`
  if (task.holder === 'shared') config.holder = `${task.id} ${number}`
  while (!isFinishing) {
    await pass(task, config).catch((error) => note('warning', `a task failed: ${error?.stack}`))
    await sleep(random.between(...task.pause))
  }
}

const running = Promise.all(tasks.flatMap((task) => Array.from({ length: task.count }, (_, i) => run(task, i))))
const lastingTimer = setInterval(() => {
  lasting.abort()
  lasting = new AbortController()
}, 4_000)
const gcTimer = setInterval(() => globalThis.gc?.(), 200)

// --- what the day tells it ------------------------------------------------------------------------------------------

let isEnding = false

const operations = {
  async finish() {
    isFinishing = true
    clearInterval(lastingTimer)
    lasting.abort()
    await running
    clearInterval(gcTimer)
  },
  async look(keys) {
    const { held, waiting } = await limiter.stats()
    const groups = await Promise.all(keys.map((key) => limiter.status(key)))
    return { held, waiting, groups, rss: process.memoryUsage().rss / 2 ** 20 }
  },
  /** Blocks this thread. */
  async hang(ms) {
    const end = now() + ms
    while (now() < end);
  },
  /** Closes the Limiter under its tasks, and makes another. */
  async reopen() {
    const former = limiter
    limiter = makeLimiter()
    const from = now()
    await former.close()
    return now() - from
  },
  async close() {
    await limiter.close()
    await brought?.end()
  },
  /** Nothing keeps it alive from now on. */
  async leave() {
    isEnding = true
    setTimeout(() => process.disconnect(), 0)
  },
}

process.on('message', ({ id, op, args }) => {
  operations[op](...args).then(
    (value) => process.send?.({ id, value }),
    (error) => process.send?.({ id, error: { code: error.code, message: error.stack } }),
  )
})
