// A client whose connection is busy with a command that blocks says so, and what to do; when that ends, all goes on.
import { Limiter, UnavailableError } from 'concurrency-limit'
import { Cluster } from 'ioredis'
import { afterEach, describe, expect, test } from 'vitest'
import { bring, KINDS } from '../support/clients.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { redis, rejection, until } from '../support/helpers.mjs'
import { startCluster } from '../support/members.mjs'

const server = useRedis()
const ends = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const once = { key: 'k', limit: 1, limitTimeout: 0 }
const BLOCKED = {
  BLPOP: ['BLPOP', 'nothing comes', '0'],
  BZPOPMIN: ['BZPOPMIN', 'nothing comes', '0'],
  'XREAD BLOCK': ['XREAD', 'BLOCK', '0', 'STREAMS', 'nothing comes', '$'],
}

/** Makes a client wait in a command that blocks; what it gives ends the command, and the connection stays. */
async function block({ ask }, words) {
  const own = await ask('CLIENT', 'ID')
  const waits = ask(...words).catch(() => {})
  const isBlocked = async () => / flags=b /.test(await redis(server.port, 'CLIENT', 'LIST', 'ID', own))
  await until(isBlocked, 'it is blocked')
  return () => redis(server.port, 'CLIENT', 'UNBLOCK', own).then(() => waits)
}

async function open(kind, options) {
  const brought = await bring(kind, server)
  ends.push(brought.end)
  const limiter = new Limiter({ client: brought.client, ...options })
  ends.push(() => limiter.close())
  return { brought, limiter }
}

describe.each(KINDS)('%s', (kind) => {
  test.each(Object.entries(BLOCKED))('%s: it is told at once, and what to give instead', async (name, words) => {
    const { brought, limiter } = await open(kind)
    const unblock = await block(brought, words)
    const at = performance.now()
    const error = await rejection(limiter.tryAcquire(once))
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.message).toContain(`busy with ${name}, which blocks its connection`)
    expect(error.message).toContain('client.duplicate()')
    expect(error.message).not.toContain('not ready')
    expect(performance.now() - at).toBeLessThan(5_000)
    const patient = limiter.withLimit({ ...once, limitTimeout: 20 }, ({ slot }) => slot)
    await unblock()
    expect(await patient).toBe(1)
  })

  test('a client that becomes busy while the limiter uses it', async () => {
    const { brought, limiter } = await open(kind, { commandTimeout: 0.3 })
    await limiter.withLimit({ key: 'k', limit: 1 }, () => {})
    const unblock = await block(brought, BLOCKED.BLPOP)
    const error = await rejection(limiter.acquire({ key: 'k', limit: 1, limitTimeout: 3 }))
    expect(error.message).toContain('busy with BLPOP, which blocks its connection')
    // What lay in the client's queue is carried out now, and is nobody's.
    await unblock()
    const nobody = async () => (await limiter.status('k').catch(() => ({ held: 1 }))).held === 0
    await until(nobody, 'nothing is held')
  })

  test('a client that is busy for long is not asked for more and more', async () => {
    const { brought, limiter } = await open(kind)
    const unblock = await block(brought, BLOCKED.BLPOP)
    const asked = () => redis(server.port, 'INFO', 'commandstats').then((s) => /cmdstat_info:calls=(\d+)/.exec(s)[1])
    await rejection(limiter.acquire({ ...once, limitTimeout: 2.5 }))
    const before = Number(await asked())
    await unblock()
    await limiter.withLimit({ key: 'k', limit: 1 }, () => {})
    // Two for the link that works, two that were sent before it was known, one or two of this test's own.
    expect(Number(await asked()) - before).toBeLessThan(8)
  })
})

test('an ioredis Cluster, one of whose members is busy', async () => {
  const cluster = await startCluster()
  ends.push(cluster.stop)
  const client = new Cluster([{ host: '127.0.0.1', port: cluster.members[0].port }])
  ends.push(() => client.disconnect())
  client.on('error', () => {})
  await client.set('warm', 1)
  client.blpop('nothing comes', 0).catch(() => {})
  const limiter = new Limiter({ client })
  ends.push(() => limiter.close({ release: false }))
  await until(() => client.nodes('master').some((one) => one.commandQueue.length > 0), 'it was sent')
  const error = await rejection(limiter.tryAcquire(once))
  expect(error.message).toContain('busy with BLPOP, which blocks its connection')
}, 60_000)
