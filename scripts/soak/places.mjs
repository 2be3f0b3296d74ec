// Where the groups of a day are: one server (with replicas, if they are asked for), a primary and a replica that
// sentinels watch, or a cluster of three masters with a replica each. Everything is behind gates, also for one another.
//
// A place: `{ servers, sentinels, where(kind), masterOf(key), end() }`. `where` is what a Limiter, or a client of the
// user's own of that kind, is told.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { redis, until } from '../../__test__/support/helpers.mjs'
import { freeMemberPort } from '../../__test__/support/members.mjs'
import { acquainted, inStep, startSentinel } from '../../__test__/support/replicas.mjs'
import { PASSWORD, Server, USER, within } from './server.mjs'

const run = promisify(execFile)
const NAME = 'main'
const MEET_MS = 15_000
const FAST = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1', '--repl-timeout', '5']
const credentials = { username: USER, password: PASSWORD }
const url = (scheme, rest) => `${scheme}://${USER}:${encodeURIComponent(PASSWORD)}@${rest}`

const announced = ({ gate }) => ['--replica-announce-ip', '127.0.0.1', '--replica-announce-port', String(gate.port)]

async function startReplicated(network, replicas, made) {
  const args = (server) => [...FAST, ...announced(server)]
  const first = await Server.make({ name: 's1', network, args, ...made })
  await first.start()
  const following = Array.from({ length: replicas }, async (_, i) => {
    const server = await Server.make({ name: `s${i + 2}`, network, args })
    await server.start(['--replicaof', '127.0.0.1', String(first.gate.port)])
    await inStep(server.port)
    return server
  })
  return [first, ...(await Promise.all(following))]
}

async function single({ network, replicas, made }) {
  const servers = await startReplicated(network, replicas, made)
  const [{ gate }] = servers
  return {
    servers,
    sentinels: [],
    where: (kind) => {
      if (kind === 'node-redis') return { socket: { host: '127.0.0.1', port: gate.port }, ...credentials }
      if (kind === 'ioredis') return { host: '127.0.0.1', port: gate.port, ...credentials }
      return { url: url('redis', `127.0.0.1:${gate.port}`) }
    },
    masterOf: async () => servers[0],
    end: () => Promise.all(servers.map((server) => server.end())),
  }
}

async function startSentinels(network, watched) {
  const each = [1, 2, 3].map(async (number) => {
    const name = `sentinel${number}`
    const gate = await network.gate(name)
    const lines = ['sentinel announce-ip 127.0.0.1', `sentinel announce-port ${gate.port}`]
    const sentinel = await startSentinel(NAME, watched, 2, lines)
    gate.lead(sentinel.port)
    network.know(sentinel.pid, name)
    return { ...sentinel, name, gate }
  })
  return Promise.all(each)
}

async function sentinel({ network }) {
  const servers = await startReplicated(network, 1)
  const sentinels = await startSentinels(network, servers[0].gate.port)
  await acquainted(sentinels, NAME, 1)
  const nodes = sentinels.map(({ gate }) => ({ host: '127.0.0.1', port: gate.port }))
  return {
    servers,
    sentinels,
    name: NAME,
    where: (kind) => {
      if (kind === 'ioredis') return { sentinels: nodes, name: NAME, ...credentials }
      return { sentinel: { name: NAME, nodes }, ...credentials }
    },
    masterOf: () => agreedPrimary(servers, sentinels),
    end: async () => {
      await Promise.all(sentinels.map((one) => one.stop()))
      for (const { pid } of sentinels) network.forget(pid)
      await Promise.all(servers.map((server) => server.end()))
    },
  }
}

/** What the key of a group's hash is called, and what the others begin with. */
export const hashOf = (key) => `cl:{${key.replaceAll('%', '%25').replaceAll('}', '%7D')}}`

/** Whom a sentinel names, by its port. */
export async function namedBy({ port }) {
  const answer = redis(port, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME)
  return Number((await within(1_000, answer, 'a sentinel answers'))[1])
}

/** Whom all sentinels name, if it says so itself; an error while there is none. */
async function agreedPrimary(servers, sentinels) {
  const named = new Set(await Promise.all(sentinels.map(namedBy)))
  const primary = servers.find(({ gate }) => named.has(gate.port))
  if (named.size > 1 || (await primary.ask('ROLE'))[0] !== 'master') throw new Error('no agreed primary')
  return primary
}

const MEMBER = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000', '--cluster-require-full-coverage', 'no']

async function makeMember(network, number) {
  const port = await freeMemberPort()
  const args = ({ gate }) => [
    ...[...MEMBER, ...FAST, '--cluster-announce-ip', '127.0.0.1', '--cluster-announce-port', String(gate.port)],
    ...['--cluster-announce-bus-port', String(port + 10_000)],
  ]
  const server = await Server.make({ name: `s${number}`, network, port, args })
  try {
    await server.start()
    return server
  } catch {
    // Somebody else has taken the port, or that of the bus, since it was found free.
    await server.end()
    return makeMember(network, number)
  }
}

async function masterIn(servers, key) {
  for (const server of servers) {
    const slot = await server.ask('CLUSTER', 'KEYSLOT', hashOf(key)).catch(() => undefined)
    if (slot === undefined) continue
    const ranges = await server.ask('CLUSTER', 'SLOTS')
    const range = ranges.find(([first, last]) => first <= slot && slot <= last)
    const owner = servers.find(({ gate }) => gate.port === range?.[2][1])
    const role = await owner?.ask('ROLE').catch(() => undefined)
    if (role?.[0] === 'master') return owner
  }
  throw new Error(`no master of ${key}`)
}

/** The members, once all know all. Where the machine is so busy that they don't meet, others are made. */
async function startMembers(network, attempts = 3) {
  const servers = await Promise.all([1, 2, 3, 4, 5, 6].map((number) => makeMember(network, number)))
  try {
    const nodes = servers.map(({ port }) => `127.0.0.1:${port}`)
    const create = ['--cluster', 'create', ...nodes, '--cluster-replicas', '1', '--cluster-yes']
    await run(process.env.REDIS_CLI ?? 'redis-cli', create, { timeout: MEET_MS })
    const gates = new Set(servers.map(({ gate }) => gate.port))
    const serve = async () => (await Promise.all(servers.map(({ port }) => serves(port, gates)))).every(Boolean)
    await until(serve, 'the cluster serves by its gates', MEET_MS)
    return servers
  } catch (error) {
    await Promise.all(servers.map((server) => server.end()))
    if (attempts === 1) throw error
    return startMembers(network, attempts - 1)
  }
}

async function cluster({ network, seeds }) {
  const servers = await startMembers(network)
  const list = servers.slice(0, seeds).map(({ gate }) => ({ host: '127.0.0.1', port: gate.port }))
  return {
    servers,
    sentinels: [],
    where: (kind) => {
      if (kind === 'ioredis') return { cluster: list, redisOptions: credentials }
      return { cluster: list, ...credentials }
    },
    masterOf: (key) => masterIn(servers, key),
    end: () => Promise.all(servers.map((server) => server.end())),
  }
}

/** The member knows all others by their gates, and its primary, or a replica, is in step with it. */
async function serves(port, gates) {
  if (!/cluster_state:ok/.test(await redis(port, 'CLUSTER', 'INFO'))) return false
  if (!/state=online|master_link_status:up/.test(await redis(port, 'INFO', 'replication'))) return false
  const known = (await redis(port, 'CLUSTER', 'SLOTS')).flatMap(([, , ...members]) =>
    members.map((member) => member[1]),
  )
  return known.length === gates.size && known.every((gate) => gates.has(gate))
}

const PLACES = { single, sentinel, cluster }

export const startPlace = (kind, settings) => PLACES[kind](settings)
