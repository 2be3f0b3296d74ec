// Clients of the libraries that users bring, each ready, and Limiters over them; for the tests and their processes.
import { Limiter } from 'concurrency-limit'
import { Cluster, Redis } from 'ioredis'
import { createClient } from 'redis'

const silent = () => {}

const MAKE = {
  ioredis: ({ port, username, password }) => ioredis(new Redis({ port, username, password })),
  'ioredis with auto-pipelining': ({ port, username, password }) =>
    ioredis(new Redis({ port, username, password, enableAutoPipelining: true })),
  'node-redis': ({ port, username, password }) =>
    nodeRedis(createClient({ socket: { port, host: '127.0.0.1' }, username, password })),
  'ioredis Cluster': ({ port }) => ioredis(new Cluster([{ host: '127.0.0.1', port }])),
  'ioredis Cluster with auto-pipelining': ({ port }) =>
    ioredis(new Cluster([{ host: '127.0.0.1', port }], { enableAutoPipelining: true })),
}

export const KINDS = ['ioredis', 'ioredis with auto-pipelining', 'node-redis']
export const CLUSTER_KINDS = ['ioredis Cluster', 'ioredis Cluster with auto-pipelining']

async function ioredis(client) {
  client.on('error', silent)
  if (client.status !== 'ready') await new Promise((resolve) => client.once('ready', resolve))
  const ask = (...words) => client.call(...words)
  return { client, ask, end: () => client.disconnect(), quit: () => client.quit() }
}

async function nodeRedis(client) {
  await client.on('error', silent).connect()
  const ask = (...words) => client.sendCommand(words)
  return { client, ask, end: () => client.destroy(), quit: () => client.close() }
}

/** A client of this kind: `{ client, ask(…words), end(), quit() }`. */
export function bring(kind, where) {
  return MAKE[kind](where)
}

/** A Limiter, over a client if the options' `client` is the name of a kind: `{ limiter, end() }`. */
export async function open({ client: kind, port, ...options }) {
  if (kind === undefined) {
    const limiter = new Limiter({ ...options, port })
    return { limiter, end: () => limiter.close() }
  }
  const { client, end } = await bring(kind, { port })
  const limiter = new Limiter({ ...options, client })
  return { limiter, end: () => limiter.close().then(end) }
}
