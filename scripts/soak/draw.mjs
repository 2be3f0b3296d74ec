// A day as its seed draws it: the place, how Limiters connect, what is asked for, and which faults come when. Nothing
// but data, so that a seed repeats it; what comes of it is the machine's.
import { drawFaults } from './faults.mjs'
import { drawer } from './random.mjs'

/**
 * Load begins at 0, faults at the earliest and at the latest then; from `calmAt` on nothing is wrong any more. All in
 * ms.
 */
export const TIMES = { firstFault: 1_500, lastFault: 9_000, calmAt: 13_000, loadEnds: 17_000 }

function drawConnection(random, kind, replicas) {
  const connection = { commandTimeout: random.pick([0.5, 1, 1]), settle: random.pick([1, 2, 2]) }
  if (random.chance(0.5)) connection.connectTimeout = random.pick([0.5, 2])
  if (random.chance(0.3)) connection.stallTimeout = random.pick([0.5, 1])
  if (replicas > 0 && kind !== 'cluster' && random.chance(0.6)) {
    connection.minReplicas = 1
    connection.replicaTimeout = random.pick([0.1, 0.5])
  }
  const unavailable = random.weighted({ reject: 4, local: 4, allow: 2 })
  if (unavailable !== 'reject') {
    connection.onUnavailable = unavailable
    connection.unavailableTimeout = random.pick([0.5, 2, 10])
  }
  if (!connection.minReplicas && random.chance(0.1)) connection.maxConnections = 1
  return connection
}

/** What a task asks for, over and over. Its `hold` and `pause` are ranges in ms. */
function drawTask(random, group) {
  const lease = random.weighted({ short: 2, middle: 4, long: 3 })
  const limitExpire = { short: random.pick([0.3, 0.5]), middle: random.pick([1, 1.5, 2]), long: 3 }[lease]
  const config = { key: group.key, limit: group.limit, limitExpire }
  config.limitTimeout = random.pick([0, 0.2, 1, 2, 3, 5])
  if (random.chance(0.2)) config.limitInterval = random.pick([0.02, 0.5, 2])
  if (group.limit > 1 && random.chance(0.25)) config.weight = random.integer(2, Math.min(3, group.limit))
  if (random.chance(0.25)) config.priority = random.integer(-2, 2)
  if (random.chance(0.15)) config.maxWaiting = random.integer(0, 6)
  if (random.chance(0.2)) config.renew = false
  if (random.chance(0.2)) config.limitHold = random.pick([0.2, 0.5, 1])
  if (random.chance(0.2)) config.label = 'a task'
  const task = { config, count: random.integer(1, 3) }
  task.holder = random.weighted({ none: 7, own: 2, shared: 1 })
  task.tries = random.chance(0.15)
  task.hold = random.pick([
    [0, 5],
    [5, 60],
    [20, 150],
    [50, 300],
    [200, 1500],
  ])
  task.pause = random.pick([
    [2, 15],
    [10, 60],
    [50, 300],
  ])
  task.aborts = random.pick([0, 0, 0.2, 0.6])
  task.sharesSignal = random.chance(0.25)
  // So many that Node warns of listeners, if each had one of its own.
  if (task.sharesSignal) task.count += 5
  task.forgets = config.limitHold !== undefined && config.renew !== false && random.chance(0.4)
  return task
}

/** All that a group is asked for is on the same terms then, and its slots are kept. */
function keepSlots(random, { key }, tasks) {
  const limitExpire = random.pick([0.5, 1.5, 3])
  const limitKeep = random.pick([0.05, limitExpire / 3])
  for (const task of tasks.filter(({ config }) => config.key === key)) {
    const { weight, priority, renew, limitHold, ...config } = task.config
    Object.assign(task, { config: { ...config, limitExpire, limitKeep }, holder: 'none', forgets: false })
  }
}

function drawWorkers(random, kind, connection) {
  const brings = connection.minReplicas === undefined && connection.maxConnections === undefined && random.chance(0.35)
  const kinds = kind === 'single' ? ['ioredis', 'node-redis'] : ['ioredis']
  return Array.from({ length: random.integer(2, 4) }, (_, i) => ({
    name: `w${i + 1}`,
    seed: random.integer(1, 2 ** 31),
    client: brings && random.chance(0.5) ? random.pick(kinds) : undefined,
  }))
}

/**
 * The day without what is named: faults, options of the connection, of a request or of a task. The rest stays as drawn.
 */
export function leaveOut(day, names) {
  const without = (object) => Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)))
  return {
    ...day,
    connection: without(day.connection),
    tasks: day.tasks.map(({ config, ...task }) => ({
      aborts: 0,
      holder: 'none',
      ...without(task),
      config: without(config),
    })),
    workers: day.workers.map(without),
    faults: day.faults.filter(({ name }) => !names.includes(name)),
  }
}

export function drawDay(seed, { kind: only } = {}) {
  const random = drawer(seed)
  const drawn = random.weighted({ single: 4, sentinel: 3, cluster: 4 })
  const kind = only ?? drawn
  const replicas = kind === 'single' ? random.pick([0, 0, 0, 1, 2]) : 1
  // Clocks that differ and step: libfaketime's, on one server alone.
  const clocks = kind === 'single' && replicas === 0 && random.chance(0.3)
  const connection = drawConnection(random.branch(), kind, replicas)
  const seeds = random.pick([1, 6])
  const load = random.branch()
  const groups = Array.from({ length: load.integer(1, 3) }, (_, i) => {
    return { key: ['k', 'key}%1', 'k2'][i], limit: load.pick([1, 2, 3, 5, 8]) }
  })
  const tasks = groups.flatMap((group) => Array.from({ length: load.integer(1, 3) }, () => drawTask(load, group)))
  const workers = drawWorkers(random.branch(), kind, connection)
  const day = { seed, kind, replicas, seeds, clocks, connection, groups, tasks, workers }
  // Last, so that the faults fit the rest.
  day.faults = drawFaults(random.branch(), day, TIMES)
  const keeping = random.branch()
  for (const group of groups.filter(() => keeping.chance(0.35))) keepSlots(keeping, group, tasks)
  return day
}
