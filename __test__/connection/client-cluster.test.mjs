// ioredis' Cluster, brought by its user: each group on its own node, all of them one limiter.
import { spawn } from 'node:child_process'
import { Limiter } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bring, CLUSTER_KINDS, KINDS } from '../support/clients.mjs'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'
import { freePort } from '../support/programs.mjs'

const MASTERS = 3

let nodes
beforeAll(async () => {
  nodes = await startCluster()
}, 60_000)
afterAll(() => Promise.all((nodes ?? []).map((node) => node.stop())))

/** Masters without replicas that serve all hash slots. */
async function startCluster() {
  const started = await Promise.all(Array.from({ length: MASTERS }, startNode))
  const addresses = started.map(({ port }) => `127.0.0.1:${port}`)
  const create = spawn('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'], { stdio: 'ignore' })
  await new Promise((resolve) => create.once('exit', resolve))
  await until(async () => {
    const states = await Promise.all(started.map(({ port }) => redis(port, 'CLUSTER', 'INFO')))
    return states.every((state) => /cluster_state:ok/.test(state) && /cluster_known_nodes:3/.test(state))
  }, 'the cluster stands')
  return started
}

// The bus listens 10,000 above, where there is no port for it above 55,535.
async function startNode() {
  let port = await freePort()
  while (port > 55_535) port = await freePort()
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--appendonly', 'no']
  return startRedis({ port, args })
}

describe.each(CLUSTER_KINDS)('%s', (kind) => {
  let brought
  let limiter
  beforeEach(async () => {
    brought = await bring(kind, nodes[0])
    limiter = new Limiter({ client: brought.client })
  })
  afterEach(async () => {
    await limiter.close()
    brought.end()
  })

  const keys = Array.from({ length: 50 }, (_, i) => `group {${i}}`)

  test('groups of all nodes are held, shown, listed and given back', async () => {
    const leases = await Promise.all(keys.map((key) => limiter.acquire({ key, limit: 1 })))
    expect(leases.map(({ slot }) => slot)).toEqual(keys.map(() => 1))
    expect(await limiter.tryAcquire({ key: keys[7], limit: 1 })).toBe(null)
    expect((await limiter.status(keys[7])).held).toBe(1)
    const listed = []
    for await (const key of limiter.keys('group *')) listed.push(key)
    expect(new Set(listed)).toEqual(new Set(keys))
    const spread = await Promise.all(nodes.map(({ port }) => redis(port, 'DBSIZE')))
    expect(Math.min(...spread)).toBeGreaterThan(0)
    expect(await Promise.all(leases.map((lease) => lease.release()))).toEqual(keys.map(() => true))
  })

  test('waiters are served in order, by push, whatever node they wait at', async () => {
    const other = await bring(kind, nodes[1])
    const twin = new Limiter({ client: other.client })
    const served = await Promise.all(
      keys.slice(0, 10).map(async (key) => {
        const terms = { key, limit: 1, limitInterval: 30 }
        const first = await twin.acquire(terms)
        const order = []
        const passes = []
        for (let i = 0; i < 5; i++) {
          passes.push(limiter.withLimit(terms, () => order.push(i)))
          await until(async () => (await twin.status(key)).waiting === i + 1, `${i + 1} wait`)
        }
        await first.release()
        await Promise.all(passes)
        return order
      }),
    )
    expect(served).toEqual(served.map(() => [0, 1, 2, 3, 4]))
    expect((await limiter.stats()).handedOff).toBeGreaterThan(0)
    await twin.close()
    other.end()
  })

  test('connections to all nodes that are killed leave nothing behind', async () => {
    const terms = (key) => ({ key, limit: 2, limitTimeout: 20 })
    const inside = new Map(keys.map((key) => [key, 0]))
    let most = 0
    const work = Array.from({ length: 100 }, async (_, i) => {
      for (let round = 0; round < 20; round++) {
        const key = keys[(i + round) % 10]
        await limiter.withLimit(terms(key), async () => {
          inside.set(key, inside.get(key) + 1)
          most = Math.max(most, inside.get(key))
          await new Promise(setImmediate)
          inside.set(key, inside.get(key) - 1)
        })
      }
    })
    const all = Promise.all(work)
    for (let i = 0; i < 6; i++) {
      await redis(nodes[i % MASTERS].port, 'CLIENT', 'KILL', 'TYPE', i % 2 ? 'pubsub' : 'normal')
      await redis(nodes[i % MASTERS].port, 'BLPOP', '{nobody pushes here}', 0.2).catch(() => {})
    }
    await all
    expect(most).toBeLessThanOrEqual(2)
    for (const key of keys.slice(0, 10)) {
      await until(async () => {
        const { held, waiting } = await limiter.status(key)
        return held === 0 && waiting === 0
      }, `nothing is left of ${key}`)
    }
  })
})

describe('a member that is taken for a server by itself says at once what to write', () => {
  async function expectAdvice(limiter) {
    const keys = Array.from({ length: 20 }, (_, i) => `far {${i}}`)
    const asked = await Promise.all(keys.map((key) => limiter.acquire({ key, limit: 1 }).catch((error) => error)))
    const errors = asked.filter((one) => one instanceof Error)
    // Two thirds of the hash slots are elsewhere. Nobody waits: without a limitTimeout that would be for ever.
    expect(errors.length).toBeGreaterThan(0)
    for (const error of errors) {
      expect(error.code).toBe('ERR_UNAVAILABLE')
      expect(error.answered).toBe(true)
      expect(error.message).toMatch(
        /refused: MOVED \d+ 127\.0\.0\.1:\d+: .*member of a Redis Cluster.*redis\+cluster:\/\//,
      )
    }
    const far = keys[asked.indexOf(errors[0])]
    expect((await rejection(limiter.status(far))).message).toContain('redis+cluster://')
    await limiter.close()
  }

  test('by its URL', () => expectAdvice(new Limiter(`redis://127.0.0.1:${nodes[0].port}`)))

  test.each(KINDS)('over %s', async (kind) => {
    const { client, end } = await bring(kind, nodes[0])
    await expectAdvice(new Limiter({ client }))
    end()
  })
})
