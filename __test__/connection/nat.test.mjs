// Servers that announce addresses at which nobody answers: the error says which, and who announced it; natMap says
// where they are really reached.
import { ConfigError, Limiter, UnavailableError } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'
import { freeMemberPort, keyOnEach, startCluster } from '../support/members.mjs'
import { startSentinel } from '../support/replicas.mjs'

// Of a network that is for documentation only: nobody answers there, and most systems don't even say so.
const NOWHERE = '192.0.2.1'
const TIMES = { connectTimeout: 1, commandTimeout: 0.5 }
const once = { key: 'k', limit: 1, limitTimeout: 0 }
const limiters = []

afterEach(() => Promise.all(limiters.splice(0).map((limiter) => limiter.close())))

function limiterOf(...args) {
  const limiter = new Limiter(...args)
  limiters.push(limiter)
  return limiter
}

const works = async (...args) => {
  const limiter = limiterOf(...args)
  expect(await limiter.withLimit({ ...once, limitTimeout: 5 }, ({ slot }) => slot)).toBe(1)
}

const refused = (...args) => {
  try {
    new Limiter(...args)
  } catch (error) {
    return error
  }
}

/** All that natMap may be, if `announced` is really reached at `port`. */
const spellings = (announced, port) => [
  ['a table', { natMap: { [announced]: { host: '127.0.0.1', port } } }],
  ['a table of texts', { natMap: { 'h:1': 'i:2', [announced]: `127.0.0.1:${port}` } }],
  ['as node-redis calls it', { nodeAddressMap: { [announced]: { host: '127.0.0.1', port } } }],
  ['a function', { natMap: (address) => (address === announced ? { host: '127.0.0.1', port } : undefined) }],
  ['an async function', { natMap: async (address) => (address === announced ? `127.0.0.1:${port}` : null) }],
]

describe('a member of a cluster that announces where nobody answers', () => {
  let member, seed, announced
  beforeAll(async () => {
    const port = await freeMemberPort()
    member = await startRedis({ port, args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', NOWHERE] })
    seed = `127.0.0.1:${port}`
    announced = `${NOWHERE}:${port}`
    await redis(port, 'CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot))
    await until(async () => /cluster_state:ok/.test(await redis(port, 'CLUSTER', 'INFO')), 'the cluster serves', 20_000)
  })
  afterAll(() => member.stop())

  test('the error says which address, who announced it, and what helps', async () => {
    const limiter = limiterOf(`redis+cluster://${seed}`, TIMES)
    const failed = await rejection(limiter.tryAcquire(once))
    const soon = await rejection(
      limiterOf(`redis+cluster://${seed}`, { ...TIMES, connectTimeout: 20 }).acquire({ ...once, limitTimeout: 0.7 }),
    )
    for (const error of [failed, soon]) {
      expect(error).toBeInstanceOf(UnavailableError)
      expect(error.message).toContain(`${announced} (announced by ${seed})`)
    }
    expect(failed.message).toContain('natMap')
  })

  test('natMap in every spelling', async () => {
    for (const [, options] of spellings(announced, member.port)) await works(`redis+cluster://${seed}`, options)
  })

  test('a function that fails is told, and asked again', async () => {
    let isWell = false
    const natMap = () => {
      if (isWell) return { host: '127.0.0.1', port: member.port }
      throw new Error('no map today')
    }
    const limiter = limiterOf(`redis+cluster://${seed}`, { ...TIMES, natMap })
    const error = await rejection(limiter.tryAcquire(once))
    expect(error.message).toMatch(new RegExp(`natMap.*couldn't be asked about ${announced}: no map today`))
    const patient = limiter.withLimit({ ...once, limitTimeout: 10 }, ({ slot }) => slot)
    isWell = true
    expect(await patient).toBe(1)
  })

  test('a function that gives no address, or nothing in time', async () => {
    const wrong = limiterOf(`redis+cluster://${seed}`, { ...TIMES, natMap: () => 7 })
    expect((await rejection(wrong.tryAcquire(once))).message).toContain('its function gave a number that is not shown')
    const never = limiterOf(`redis+cluster://${seed}`, { ...TIMES, natMap: () => new Promise(() => {}) })
    expect((await rejection(never.tryAcquire(once))).message).toContain(`${announced} (announced by ${seed})`)
  })

  test('what natMap names may be unreachable, too', async () => {
    const error = await rejection(
      limiterOf(`redis+cluster://${seed}`, { ...TIMES, natMap: { [announced]: '127.0.0.1:1' } }).tryAcquire(once),
    )
    expect(error.message).toContain(`127.0.0.1:1 (by natMap; ${seed} announced ${announced})`)
  })
})

describe('a cluster half of whose members announce names that nobody knows', () => {
  const name = (port) => `member-${port}.invalid`
  let cluster, keys, hasNames
  beforeAll(async () => {
    cluster = await startCluster()
    keys = await keyOnEach(cluster)
    const [hidden] = keys
    // From Redis 7.0 on.
    hasNames = (await redis(hidden.master.port, 'CONFIG', 'GET', 'cluster-announce-hostname')).length > 0
    if (!hasNames) return
    for (const { port } of cluster.members) {
      const isHidden = port === hidden.master.port
      await redis(port, 'CONFIG', 'SET', 'cluster-announce-hostname', isHidden ? name(port) : '127.0.0.1')
      await redis(port, 'CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'hostname')
    }
    const told = async ({ port }) => {
      const text = JSON.stringify(await redis(port, 'CLUSTER', 'SLOTS'))
      return text.includes(name(hidden.master.port)) && !text.includes('"?"') && !text.includes('[null,')
    }
    const all = async () => (await Promise.all(cluster.members.map(told))).every(Boolean)
    await until(all, 'the names are known', 20_000)
  }, 60_000)
  afterAll(() => cluster.stop())

  test('groups on the others work, and the error about one of its own names it', async (context) => {
    if (!hasNames) context.skip()
    const [hidden, ...others] = keys
    const limiter = limiterOf(cluster.url, { ...TIMES, connectTimeout: 3 })
    for (const { key } of others) await limiter.withLimit({ ...once, key, limitTimeout: 5 }, () => {})
    const at = performance.now()
    const error = await rejection(limiter.acquire({ ...once, key: hidden.key, limitTimeout: 1 }))
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.message).toMatch(
      new RegExp(`${name(hidden.master.port)}:${hidden.master.port} \\(announced by 127\\.0\\.0\\.1:\\d+\\)`),
    )
    expect(error.message).toContain('natMap')
    expect(performance.now() - at).toBeLessThan(3_000)
    // What is answered for the others meanwhile.
    for (const { key } of others) await limiter.withLimit({ ...once, key, limitTimeout: 5 }, () => {})
  })

  test('natMap leads to it, also where a member redirects', async (context) => {
    if (!hasNames) context.skip()
    const [hidden, other] = keys
    const { port } = hidden.master
    const limiter = limiterOf(cluster.url, { natMap: { [`${name(port)}:${port}`]: { host: '127.0.0.1', port } } })
    for (const { key } of keys) await limiter.withLimit({ ...once, key, limitTimeout: 5 }, () => {})
    // The group's hash slot moves to the hidden one, which only a redirection tells.
    const keysOf = async () => redis(other.master.port, 'CLUSTER', 'GETKEYSINSLOT', slot, '10')
    const slot = await redis(port, 'CLUSTER', 'KEYSLOT', `cl:{${other.key}}`)
    const id = await redis(port, 'CLUSTER', 'MYID')
    for (const name of await keysOf()) await redis(other.master.port, 'DEL', name)
    for (const to of [port, other.master.port]) await redis(to, 'CLUSTER', 'SETSLOT', slot, 'NODE', id)
    await limiter.withLimit({ ...once, key: other.key, limitTimeout: 5 }, () => {})
    expect(await redis(port, 'EXISTS', `cl:{${other.key}}`)).toBe(1)
  })
})

describe('a sentinel that names a primary where nobody answers', () => {
  let primary, sentinel, place
  beforeAll(async () => {
    primary = await startRedis()
    sentinel = await startSentinel('seen', primary.port, 1)
    await until(() => redis(sentinel.port, 'PING').catch(() => false), 'the sentinel answers')
    await redis(sentinel.port, 'SENTINEL', 'MONITOR', 'hidden', NOWHERE, '6379', '1')
    place = { name: 'hidden', nodes: [`127.0.0.1:${sentinel.port}`] }
  })
  afterAll(() => Promise.all([sentinel.stop(), primary.stop()]))

  test('the error says which address, who named it, and what helps', async () => {
    const words = `${NOWHERE}:6379 (announced by the sentinels 127.0.0.1:${sentinel.port})`
    const failed = await rejection(limiterOf({ sentinel: place, ...TIMES }).tryAcquire(once))
    expect(failed.message).toContain(words)
    expect(failed.message).toContain('natMap')
    const slow = limiterOf({ sentinel: place, connectTimeout: 20 })
    expect((await rejection(slow.acquire({ ...once, limitTimeout: 0.7 }))).message).toContain(words)
    expect((await rejection(slow.status('k'))).message).toContain(words)
  })

  test('natMap in every spelling', async () => {
    for (const [, options] of spellings(`${NOWHERE}:6379`, primary.port)) await works({ sentinel: place, ...options })
  })
})

test.each([
  ['a number', 7, /natMap: expected a table .* or a function/],
  ['a list', [['a:1', 'b:2']], /natMap: expected a table .* or a function/],
  ['an address without host', { 'a:1': { port: 2 } }, /natMap\["a:1"\]: expected 'host:port' or { host, port }/],
  ['a wrong port', { 'a:1': { host: 'b', port: 0 } }, /natMap\["a:1"\]: expected/],
  ['an unknown member', { 'a:1': { host: 'b', port: 2, db: 3 } }, /natMap\["a:1"\]: expected/],
  ['a port that is none', { 'a:x': 'b:2' }, /natMap: expected addresses as host:port/],
])('natMap that is %s is a ConfigError', (_, natMap, words) => {
  const error = refused('redis+cluster://h', { natMap })
  expect(error).toBeInstanceOf(ConfigError)
  expect(error.message).toMatch(words)
})

test('natMap is refused where nobody announces addresses, and beside its other name', () => {
  const natMap = { 'a:1': 'b:2' }
  for (const place of ['redis://h', 'unix:///s', 'memory:']) {
    expect(refused(place, { natMap }).message).toMatch(/natMap: expected nothing but with a cluster or Sentinel/)
  }
  expect(refused('redis+cluster://h', { natMap, nodeAddressMap: natMap })).toMatchObject({ option: 'nodeAddressMap' })
})
