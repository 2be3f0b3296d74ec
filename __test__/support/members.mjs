// A Redis Cluster of a test's own: masters and a replica of each, on free ports, ended together.
import { execFile } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tlsArgs } from './certificates.mjs'
import { redis, startRedis, until } from './helpers.mjs'

const run = promisify(execFile)
const NODE_TIMEOUT_MS = '1000'

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** A free port whose port of the cluster bus, 10,000 higher, is free too. */
export async function freeMemberPort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
  }
}

/** A member of a cluster that is still to be made; with certificates, `tlsPort` is the one that the cluster uses. */
async function startMember(certificates) {
  const own = ['--cluster-enabled', 'yes', '--cluster-node-timeout', NODE_TIMEOUT_MS]
  const args = [...own, '--cluster-require-full-coverage', 'no', '--repl-diskless-sync-delay', '0']
  const port = await freeMemberPort()
  if (!certificates) return startRedis({ port, args, age: 0 })
  const secure = [...tlsArgs(certificates, port, 'no'), '--tls-cluster', 'yes', '--tls-replication', 'yes']
  return { ...(await startRedis({ args: [...args, ...secure], age: 0 })), tlsPort: port }
}

/**
 * `{ members, nodes, url, masterOf(key), promoted(key, dead), stop() }` of three masters with a replica each, that
 * speak TLS if there are certificates for it. Members are what startRedis gives.
 */
export async function startCluster(certificates) {
  const members = await Promise.all(Array.from({ length: 6 }, () => startMember(certificates)))
  const nodes = members.map(({ port, tlsPort = port }) => `127.0.0.1:${tlsPort}`)
  const stop = () => Promise.all(members.map((member) => member.stop()))
  try {
    const secure = certificates ? ['--tls', '--cacert', join(certificates.folder, 'authority.crt')] : []
    const create = ['--cluster', 'create', ...nodes, '--cluster-replicas', '1', '--cluster-yes']
    await run(process.env.REDIS_CLI ?? 'redis-cli', [...secure, ...create])
    for (const { port } of members) {
      const serves = async () => /cluster_state:ok/.test(await redis(port, 'CLUSTER', 'INFO'))
      const follows = async () => /state=online|master_link_status:up/.test(await redis(port, 'INFO', 'replication'))
      const old = async () => Number(/uptime_in_seconds:(\d+)/.exec(await redis(port, 'INFO', 'server'))[1]) > 2
      await until(async () => (await serves()) && (await follows()) && (await old()), 'the cluster serves', 30_000)
    }
  } catch (error) {
    await stop()
    throw error
  }

  /** The member that has the key's group, as the member on `port` says. */
  async function masterOf(key, port = members[0].port) {
    const slot = await redis(port, 'CLUSTER', 'KEYSLOT', `cl:{${key}}`)
    const ranges = await redis(port, 'CLUSTER', 'SLOTS')
    const [, , [, owner]] = ranges.find(([first, last]) => first <= slot && slot <= last)
    return members.find((member) => member.port === owner)
  }

  /** Resolves when the living have made somebody else the master of the key's group. */
  function promoted(key, dead) {
    const { port } = members.find((member) => member !== dead)
    return until(async () => (await masterOf(key, port).catch(() => dead)) !== dead, 'a replica is promoted', 20_000)
  }

  const scheme = certificates ? 'rediss+cluster' : 'redis+cluster'
  return { members, nodes, url: `${scheme}://${nodes.join(',')}`, masterOf, promoted, stop }
}

/** A key for each master of the cluster, with that master. */
export async function keyOnEach({ masterOf }) {
  const found = new Map()
  for (let number = 0; found.size < 3; number++) {
    const master = await masterOf(`k${number}`)
    if (!found.has(master)) found.set(master, `k${number}`)
  }
  return [...found].map(([master, key]) => ({ key, master }))
}
