// The faults that a day may have: of which days, with what, and what is done. Each begins at its moment and has ended
// `ms` later; what it did, to whom and when is noted for the observer.
//
// `reach: false` in a note says that Redis could be reached all the time.
import { setTimeout as sleep } from 'node:timers/promises'
import { now } from './moment.mjs'
import { USER } from './server.mjs'

const anyWorker = (random, { workers }) => ({ worker: random.pick(workers).name })
const during = (least, most) => (random) => ({ ms: random.integer(least, most) })
const both =
  (...draws) =>
  (random, day) =>
    Object.assign({}, ...draws.map((draw) => draw(random, day)))
const oneOrAll = (random, day) => (random.chance(0.5) ? anyWorker(random, day) : {})
const replicated = ({ kind }) => kind !== 'single'
const groupOf = (random, { groups }) => ({ key: random.pick(groups).key })

/** The names of the workers that a fault is about. */
const whom = (world, { worker }) => (worker === undefined ? [...world.workers.keys()] : [worker])

async function restarted(world, server, { ms, comeback }) {
  if (comeback === 'an old snapshot') {
    await server.ask('SAVE')
    await sleep(500)
  } else server.forget()
  const end = world.trouble({ what: 'a server killed', server: server.name, comeback })
  await server.kill()
  await sleep(ms)
  const startedAt = now()
  await server.start()
  end({ startedAt })
}

const COMEBACKS = ['nothing', 'an old snapshot']

const FAULTS = {
  'a worker killed': {
    weight: 3,
    draw: both(anyWorker, during(0, 2_000)),
    run: (world, { worker, ms }) =>
      world.alone(worker, async () => {
        await world.workers.get(worker).kill()
        await sleep(ms)
        world.workers.get(worker).start()
      }),
  },
  'a worker stopped': {
    weight: 3,
    draw: both(anyWorker, during(100, 4_000)),
    async run(world, { worker, ms }) {
      world.workers.get(worker).freeze()
      await sleep(ms)
      world.workers.get(worker).thaw()
    },
  },
  'a worker hangs': {
    weight: 2,
    draw: both(anyWorker, during(200, 3_000)),
    async run(world, { worker, ms }) {
      const end = world.trouble({ what: 'a worker hangs', workers: [worker], reach: false })
      await world.workers.get(worker).call('hang', ms).catch(world.expectEnd)
      end()
    },
  },
  'a limiter closed': {
    weight: 2,
    draw: anyWorker,
    async run(world, { worker }) {
      const end = world.trouble({ what: 'a limiter closed', workers: [worker], reach: false })
      await world.workers.get(worker).call('reopen').catch(world.expectEnd)
      end()
    },
  },
  'connections cut': {
    weight: 4,
    draw: (random, day) => ({ ...oneOrAll(random, day), times: random.integer(1, 6), every: random.integer(20, 900) }),
    async run(world, fault) {
      const workers = whom(world, fault)
      const end = world.trouble({ what: 'connections cut', workers })
      for (let i = 0; i < fault.times; i++) {
        world.network.cut(workers)
        if (i < fault.times - 1) await sleep(Math.min(fault.every, 4_000 / fault.times))
      }
      end()
    },
  },
  'a slow network': {
    weight: 2,
    draw: both(oneOrAll, during(500, 3_500), (random) => ({ lag: random.pick([5, 40, 120, 400]) })),
    async run(world, fault) {
      const workers = whom(world, fault)
      const end = world.trouble({ what: 'a slow network', workers, lag: fault.lag })
      const quick = world.network.delay(workers, fault.lag)
      await sleep(fault.ms)
      quick()
      end()
    },
  },
  'workers apart': {
    weight: 3,
    draw: both(oneOrAll, during(200, 4_000), (random) => ({ forget: random.chance(0.5) })),
    async run(world, fault) {
      const workers = whom(world, fault)
      const end = world.trouble({ what: 'workers apart', workers })
      const join = world.network.part(workers, fault)
      await sleep(fault.ms)
      join()
      end()
    },
  },
  'a primary apart': {
    weight: 4,
    fits: ({ kind }) => kind === 'sentinel',
    draw: both(groupOf, during(500, 4_000), (random, day) => ({
      ...(random.chance(0.6) ? anyWorker(random, day) : {}),
      forget: random.chance(0.5),
    })),
    async run(world, { key, worker, ms, forget }) {
      const primary = await world.place.masterOf(key)
      const side = worker === undefined ? [primary.name] : [primary.name, worker]
      const end = world.trouble({ what: 'a primary apart', server: primary.name, inside: side })
      const join = world.network.part(side, { forget })
      await sleep(ms)
      join()
      end()
    },
  },
  'a server killed': {
    weight: 4,
    draw: both(groupOf, during(0, 4_000), (random) => ({ comeback: random.pick(COMEBACKS) })),
    run: (world, { key, ...fault }) =>
      world.alone('servers', async () => restarted(world, await world.place.masterOf(key), fault)),
  },
  'a server stopped': {
    weight: 3,
    draw: both(groupOf, during(100, 4_000)),
    run: (world, { key, ms }) =>
      world.alone('servers', async () => {
        const server = await world.place.masterOf(key)
        const end = world.trouble({ what: 'a server stopped', server: server.name })
        server.freeze()
        await sleep(ms)
        server.thaw()
        end()
      }),
  },
  'a replica stopped': {
    weight: 3,
    fits: ({ replicas }) => replicas > 0,
    draw: during(200, 3_000),
    run: (world, { ms }) =>
      world.alone('servers', async () => {
        const replica = world.place.servers.at(-1)
        const end = world.trouble({ what: 'a replica stopped', server: replica.name })
        replica.freeze()
        await sleep(ms)
        replica.thaw()
        end()
      }),
  },
  'a planned failover': {
    weight: 5,
    fits: replicated,
    draw: groupOf,
    run: (world, { key }) =>
      world.alone('servers', async () => {
        const end = world.trouble({ what: 'a planned failover' })
        await world.failOver(key, world.day.kind === 'cluster' ? [] : undefined)
        end()
      }),
  },
  'a take-over': {
    weight: 4,
    fits: ({ kind }) => kind === 'cluster',
    draw: both(groupOf, (random) => ({ how: random.pick(['TAKEOVER', 'FORCE']) })),
    run: (world, { key, how }) =>
      world.alone('servers', async () => {
        const end = world.trouble({ what: 'a take-over' })
        await world.failOver(key, [how])
        end()
      }),
  },
  'a right withdrawn': {
    weight: 3,
    draw: both(during(200, 4_000), (random) => ({
      right: random.pick(['@scripting', 'publish', 'subscribe', 'channels']),
    })),
    run: (world, { right, ms }) =>
      world.alone('rights', async () => {
        const end = world.trouble({ what: 'a right withdrawn', right, reach: false })
        const [less, more] = right === 'channels' ? ['resetchannels', '&*'] : [`-${right}`, `+${right}`]
        await world.tellServers('ACL', 'SETUSER', USER, less)
        await sleep(ms)
        // Servers that were started meanwhile have all rights.
        await world.tellServers('ACL', 'SETUSER', USER, more)
        end()
      }),
  },
  'memory full': {
    weight: 2,
    draw: during(200, 4_000),
    run: (world, { ms }) =>
      world.alone('memory', async () => {
        const end = world.trouble({ what: 'memory full', reach: false })
        await world.tellServers('CONFIG', 'SET', 'maxmemory', '1')
        await sleep(ms)
        await world.tellServers('CONFIG', 'SET', 'maxmemory', '0')
        end()
      }),
  },
  'the clock of the server steps': {
    weight: 8,
    fits: ({ clocks }) => clocks,
    draw: (random) => ({ seconds: random.pick([-3, -1, 1, 5, 60]) }),
    async run(world, { seconds }) {
      const end = world.trouble({ what: 'the clock of the server steps', seconds, reach: false })
      world.clock.step(seconds)
      end()
    },
  },
  'library flushed': {
    weight: 1,
    draw: () => ({}),
    async run(world) {
      await world.tellServers('SCRIPT', 'FLUSH')
      await world.tellServers('FUNCTION', 'FLUSH')
    },
  },
  'everything flushed': {
    weight: 1,
    draw: () => ({}),
    async run(world) {
      const end = world.trouble({ what: 'everything flushed', reach: false })
      await world.tellServers('FLUSHALL')
      end()
    },
  },
}

/** What all faults are called. */
export const names = Object.keys(FAULTS)

/** One to six faults of those that this day may have, each with its moment, in the order of their moments. */
export function drawFaults(random, day, { firstFault, lastFault }) {
  const fitting = Object.entries(FAULTS).filter(([, { fits = () => true }]) => fits(day))
  const weights = Object.fromEntries(fitting.map(([name, { weight }]) => [name, weight]))
  const faults = Array.from({ length: random.integer(1, 6) }, () => {
    const name = random.weighted(weights)
    return { at: random.integer(firstFault, lastFault), name, ...FAULTS[name].draw(random, day) }
  })
  return faults.sort((one, other) => one.at - other.at)
}

/** Resolves when the fault has come and gone. */
export const runFault = (world, { name, at: _, ...fault }) => FAULTS[name].run(world, fault)
