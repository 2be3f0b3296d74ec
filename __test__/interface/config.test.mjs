// A bad option is a ConfigError that names the option, what was given and what is expected; it never reaches Redis.
import { ConcurrencyLimitError, ConfigError, Limiter, setDefaultLimiter } from 'concurrency-limit'
import { afterAll, describe, expect, test } from 'vitest'
import { rejection } from '../support/helpers.mjs'

const limiter = new Limiter('memory:')
afterAll(() => limiter.close())

const LONE_SURROGATE = 'a\ud800b'
const NOT_NUMBERS = ['1', null, true, {}, [1], 1n]
const numbers = (...bad) => [...NOT_NUMBERS, NaN, -1, -Infinity, ...bad]
const texts = (...bad) => [1, null, true, {}, ['a'], LONE_SURROGATE, ...bad]

const BAD_LIMIT = {
  key: texts('', 'x'.repeat(513), 'é'.repeat(257)),
  limit: numbers(0, 0.5, 1.5, 1_000_001, Infinity, 2 ** 53),
  limitTimeout: numbers(-0.001),
  limitInterval: numbers(0, 0.009, 3601, Infinity),
  limitExpire: numbers(0, 0.09, 604_801, Infinity),
  weight: numbers(0, 1.5, 11, 1001, Infinity),
  priority: [...NOT_NUMBERS, NaN, -11, 11, 0.5, Infinity],
  maxWaiting: numbers(0.5, 2 ** 53),
  renew: [0, 1, 'true', null, {}],
  limitHold: numbers(0, 0.09),
  limitKeep: numbers(60.1, 21, Infinity),
  holder: texts('', 'x'.repeat(257), 'é'.repeat(129)),
  label: texts('x'.repeat(129), 'é'.repeat(65)),
  signal: [1, 'x', null, {}, { aborted: false }, new AbortController()],
  limitTimout: [1],
  toString: [1],
}

const BAD_CONNECTION = {
  url: texts(
    '',
    'localhost:6379',
    'http://localhost',
    'redis://',
    'redis://h/db',
    'redis://h/1#x',
    'unix://',
    'redis+sentinel://h,/m',
    'redis+cluster://h/x',
    'memory:name',
  ),
  host: texts('', 'a b', 'a/b', 'user@host', 'x'.repeat(256)),
  port: numbers(0, 65_536, 1.5, Infinity),
  db: numbers(0.5, 2 ** 31, Infinity),
  path: texts('', 'relative', '/', 'x'.repeat(108), '/a\0b'),
  username: texts(''),
  password: texts(''),
  tls: [1, null, 'true'],
  cluster: [true, 'h:1', null, [], [5], [''], [{ port: 1 }], [{ host: 'h', port: 0 }], [{ host: 'h', db: 1 }]],
  sentinel: [true, 'h', null],
  client: [1, true, null, 'redis'],
  maxConnections: numbers(0, 1.5, 1001, Infinity),
  minReplicas: numbers(0.5, 1001, Infinity),
  replicaTimeout: numbers(0, 3601, Infinity),
  connectTimeout: numbers(0, 3601, Infinity),
  commandTimeout: numbers(0, 3601, Infinity),
  clientName: texts('', 'two words', 'ü', 'x'.repeat(129)),
  identity: [...texts('', 'ü'.repeat(33)), true],
  keyPrefix: texts('', 'a{b', 'a}b', 'x'.repeat(129)),
  settle: numbers(3601, Infinity),
  onUnavailable: texts('', 'ALLOW', 'ignore'),
  unavailableTimeout: numbers(0, 0.09, 604_801, Infinity),
  stallTimeout: numbers(0, 0.09, 604_801, Infinity),
}

const LIMIT_NAMES = Object.keys(BAD_LIMIT).filter((name) => name !== 'limitTimout' && name !== 'toString')
/** What an error keeps of a value: of an object its kind. */
const told = (given) =>
  given !== null && typeof given === 'object' ? expect.stringMatching(/^an? (object|list) /) : given

const cases = (table) => Object.entries(table).flatMap(([option, bad]) => bad.map((given) => ({ option, given })))

function expectConfigError(error, option) {
  expect(error).toBeInstanceOf(ConfigError)
  expect(error).toBeInstanceOf(TypeError)
  expect(error).toBeInstanceOf(ConcurrencyLimitError)
  expect(error).toMatchObject({ code: 'ERR_CONFIG', name: 'ConfigError', option })
  expect(error.message).toContain(option)
  expect(error.message).toContain(error.expected)
  expect(error.expected).toMatch(/\w/)
}

function thrown(run) {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('a request', () => {
  test.each(cases(BAD_LIMIT))('with $option: $given is refused', async ({ option, given }) => {
    const config = { key: 'k', limit: 10, [option]: given }
    const error = await rejection(limiter.acquire(config))
    expectConfigError(error, option)
    expect(error.given).toEqual(LIMIT_NAMES.includes(option) ? told(given) : expect.stringMatching(/not shown/))
    expectConfigError(await rejection(limiter.tryAcquire(config)), option)
    expectConfigError(await rejection(limiter.withLimit(config, () => {})), option)
    expectConfigError(
      thrown(() => limiter.wrap(config, () => {})),
      option,
    )
  })

  test.each([
    { weight: 2 },
    { priority: 1 },
    { holder: 'h' },
    { limitHold: 1 },
    { renew: false },
    { limitExpire: 2.9 },
  ])('with limitKeep beside %o is refused', async (other) => {
    const config = { key: 'k', limit: 10, limitKeep: 1, ...other }
    expectConfigError(await rejection(limiter.acquire(config)), 'limitKeep')
  })

  test.each([[undefined], [null], ['key'], [() => {}]])(
    'that is %s instead of an object is refused',
    async (config) => {
      expectConfigError(await rejection(limiter.acquire(config)), 'config')
    },
  )

  test.each(['key', 'limit'])('without %s is refused', async (option) => {
    const config = { key: 'k', limit: 1, [option]: undefined }
    expectConfigError(await rejection(limiter.acquire(config)), option)
  })

  test('may say undefined where a default is meant, and the extremes of every range', async () => {
    const leases = await Promise.all([
      limiter.acquire({ key: 'least', limit: 1, limitTimeout: undefined, label: undefined, signal: undefined }),
      limiter.acquire({ key: 'x', limit: 1, limitTimeout: 0, limitInterval: 0.01, limitExpire: 0.1, limitHold: 0.1 }),
      limiter.acquire({ key: 'x'.repeat(512), limit: 1_000_000, limitTimeout: Infinity, limitInterval: 3600 }),
      limiter.acquire({ key: 'most', limit: 1_000_000, weight: 1000, priority: 10, maxWaiting: Infinity }),
      limiter.acquire({
        key: 'week',
        limit: 1,
        limitExpire: 604_800,
        limitHold: Infinity,
        priority: -10,
        maxWaiting: 0,
      }),
      limiter.acquire({ key: 'names', limit: 1, holder: 'é'.repeat(128), label: '' }),
      limiter.acquire({ key: 'long', limit: 1, limitTimeout: Number.MAX_VALUE, limitHold: Number.MAX_VALUE }),
    ])
    await Promise.all(leases.map((lease) => lease.release()))
  })

  test('may say undefined for whatever may be left out, in the other calls too', async () => {
    const optional =
      'limitTimeout limitInterval limitExpire weight priority maxWaiting renew limitHold holder label signal'
    const none = Object.fromEntries(optional.split(' ').map((name) => [name, undefined]))
    const nowhere = Object.fromEntries(Object.keys(BAD_CONNECTION).map((name) => [name, undefined]))
    const other = new Limiter('memory:', nowhere)
    const lease = await other.acquire({ ...none, key: 'k', limit: 1 })
    expect(await other.release({ key: 'k', holder: undefined, leaseId: lease.leaseId })).toBe(true)
    await other.close({ release: undefined })
    const tls = { ca: undefined, cert: undefined, key: undefined, servername: undefined, rejectUnauthorized: undefined }
    const nodes = [{ host: '127.0.0.1', port: undefined }]
    const sentinel = { name: 'm', nodes, username: undefined, password: undefined, tls: undefined }
    await new Limiter({ ...nowhere, sentinel, tls }).close()
  })

  test('may be an instance of a class with getters', async () => {
    class Settings {
      get key() {
        return 'getters'
      }
      get limit() {
        return 1
      }
      get weight() {
        return 2
      }
    }
    expectConfigError(await rejection(limiter.acquire(new Settings())), 'weight')
  })
})

describe('a connection', () => {
  test.each(cases(BAD_CONNECTION))('with $option: $given is refused', ({ option, given }) => {
    expectConfigError(
      thrown(() => new Limiter({ [option]: given })),
      option,
    )
  })

  test('with a name that no option has says that the option is unknown', () => {
    expect(thrown(() => new Limiter({ tsl: true })).message).toMatch(/unknown option 'tsl'/)
    expect(thrown(() => new Limiter({ tls: { caa: '' } })).message).toMatch(/unknown option 'tls.caa'/)
  })

  test.each([
    ['tls.ca', { tls: { ca: 5 } }],
    ['tls.ca', { tls: { ca: [] } }],
    ['tls.key', { tls: { key: '' } }],
    ['tls.servername', { tls: { servername: 'a b' } }],
    ['tls.rejectUnauthorized', { tls: { rejectUnauthorized: 0 } }],
    ['sentinel.name', { sentinel: { nodes: ['h'] } }],
    ['sentinel.name', { url: 'redis+sentinel://h' }],
    ['sentinel.name', { sentinel: { name: '', nodes: ['h'] } }],
    ['sentinel.nodes', { sentinel: { name: 'm' } }],
    ['sentinel.nodes', { sentinel: { name: 'm', nodes: ['h:x'] } }],
    ['sentinel.username', { sentinel: { name: 'm', nodes: ['h'], username: 'u' } }],
    ['sentinel.tls.ca', { sentinel: { name: 'm', nodes: ['h'], tls: { ca: 1 } } }],
    ['cluster', { cluster: ['::1'] }],
  ])('names the member %s: %j', (option, options) => {
    expectConfigError(
      thrown(() => new Limiter(options)),
      option,
    )
  })

  test.each([
    ['a path beside a host', [{ host: 'h', path: '/s' }], 'path'],
    ['a path beside a url that names a host', ['redis://h', { path: '/s' }], 'path'],
    ['a host beside a socket', ['unix:///s', { host: 'h' }], 'host'],
    ['a cluster beside a host', [{ host: 'h', cluster: ['h'] }], 'cluster'],
    ['a database of a cluster', [{ cluster: ['h'], db: 1 }], 'db'],
    ['sentinels beside a cluster', [{ cluster: ['h'], sentinel: { name: 'm', nodes: ['h'] } }], 'sentinel'],
    ['tls switched off beside rediss:', ['rediss://h', { tls: false }], 'tls'],
    ['tls beside a socket', [{ path: '/s', tls: true }], 'tls'],
    ['a user without a password', [{ username: 'u' }], 'username'],
    ['too few connections for replicas', ['redis://h', { minReplicas: 1, maxConnections: 1 }], 'maxConnections'],
    ['replicas of the embedded store', ['memory:', { minReplicas: 1 }], 'minReplicas'],
    ['a url twice', ['redis://h', { url: 'redis://h' }], 'url'],
    ['a host beside memory:', ['memory:', { host: 'h' }], 'host'],
    ['options that are no object', ['redis://h', 5], 'options'],
    ['a number instead of a url', [6379], 'url'],
  ])('with %s is refused', (_, args, option) => {
    expectConfigError(
      thrown(() => new Limiter(...args)),
      option,
    )
  })
})

describe('other calls', () => {
  test.each([
    ['status', [''], 'key'],
    ['status', [], 'key'],
    ['clean', [5], 'key'],
    ['withLimit', [{ key: 'k', limit: 1 }, 'fn'], 'fn'],
    ['release', [{ key: 'k' }], 'target'],
    ['release', [{ key: 'k', holder: 'a', leaseId: '0000000000000001-1' }], 'target'],
    ['release', [{ key: 'k', leaseId: 'nonsense' }], 'leaseId'],
    ['release', [{ key: 'k', holder: '' }], 'holder'],
    ['release', [{ holder: 'a' }], 'key'],
    ['release', [{ key: 'k', name: 'a' }], 'name'],
    ['close', [{ release: 1 }], 'release'],
    ['close', [{ force: true }], 'force'],
  ])('%s(%j) is refused', async (method, args, option) => {
    expectConfigError(await rejection(limiter[method](...args)), option)
  })

  test('keys refuses a pattern that is no text', async () => {
    expectConfigError(await rejection(limiter.keys(5).next()), 'pattern')
  })

  test('setDefaultLimiter takes nothing but a Limiter', () => {
    expectConfigError(
      thrown(() => setDefaultLimiter({})),
      'limiter',
    )
  })

  test('wrap refuses what is no function', () => {
    expectConfigError(
      thrown(() => limiter.wrap({ key: 'k', limit: 1 }, 'fn')),
      'fn',
    )
  })
})
