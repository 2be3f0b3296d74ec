// Where a server is and who we are to it: sockets, IPv6, databases, users, in URLs and in options.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Limiter, UnavailableError } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'

const USER = 'a:b/c'
const PASSWORD = 'p@ss:w/rd?#%é'
const escaped = encodeURIComponent
let server, folder, socket

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-'))
  socket = join(folder, 'my redis.sock')
  server = await startRedis({ args: ['--unixsocket', socket, '--bind', '127.0.0.1', '-::1'] })
  await redis(server.port, 'ACL', 'SETUSER', USER, 'on', `>${PASSWORD}`, '~*', '&*', '+@all')
})

afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** What the one connection that holds the lease looks like to Redis. */
async function seenBy(...args) {
  const limiter = new Limiter(...args)
  const options = args.at(-1)
  const name = options?.clientName ?? 'reach'
  const lease = await limiter.acquire({ key: 'reach', limit: 100 })
  const list = await redis(server.port, 'CLIENT', 'LIST')
  const line = list.split('\n').find((line) => line.includes(` name=${name} `))
  expect(await lease.release()).toBe(true)
  await limiter.close()
  return Object.fromEntries(line.split(' ').map((pair) => pair.split(/=(.*)/).slice(0, 2)))
}

const options = { clientName: 'reach' }

describe('the server is reached by', () => {
  test.each([
    ['a URL', () => [server.url, options], { db: '0', user: 'default' }],
    ['valkey:', () => [server.url.replace('redis:', 'valkey:'), options], { db: '0' }],
    ['a database in the URL', () => [`${server.url}/3`, options], { db: '3' }],
    ['a database as a parameter', () => [`${server.url}?db=3`, options], { db: '3' }],
    ['a URL with parameters for ioredis', () => [`${server.url}/3?family=0&lazyConnect=true`, options], { db: '3' }],
    ['a database that beats the URL’s', () => [`${server.url}/3`, { ...options, db: 4 }], { db: '4' }],
    ['a port that beats the URL’s', () => ['redis://127.0.0.1:1', { ...options, port: server.port }], {}],
    ['host and port', () => [{ ...options, host: 'localhost', port: server.port, db: 2 }], { db: '2' }],
    ['IPv6', () => [`redis://[::1]:${server.port}`, options], {}],
    ['IPv6 as an option', () => [{ ...options, host: '::1', port: server.port }], {}],
    [
      'user and password in the URL',
      () => [`redis://${escaped(USER)}:${escaped(PASSWORD)}@127.0.0.1:${server.port}`, options],
      { user: USER },
    ],
    [
      'user and password as options',
      () => [server.url, { ...options, username: USER, password: PASSWORD }],
      { user: USER },
    ],
    ['unix:', () => [`unix://${escaped(socket).replaceAll('%2F', '/')}`, options], { db: '0' }],
    [
      'redis+unix: with everything',
      () => [
        `redis+unix://${escaped(socket).replaceAll('%2F', '/')}?db=5&user=${escaped(USER)}&pass=${escaped(PASSWORD)}`,
        options,
      ],
      { db: '5', user: USER },
    ],
    ['path', () => [{ ...options, path: socket, db: 6 }], { db: '6' }],
  ])('%s', async (_, args, expected) => {
    const seen = await seenBy(...args())
    expect(seen).toMatchObject(expected)
  })
})

test('what is reached by a socket and by TCP is one limit', async () => {
  const [near, far] = [new Limiter({ path: socket }), new Limiter(server.url)]
  const lease = await near.acquire({ key: 'both', limit: 1 })
  expect(await far.tryAcquire({ key: 'both', limit: 1 })).toBeNull()
  await lease.release()
  await Promise.all([near.close(), far.close()])
})

test('the server sees which library it is, where it can show that', async () => {
  const seen = await seenBy(server.url, options)
  const { version } = createRequire(import.meta.url)('../../package.json')
  if ('lib-name' in seen) expect(seen).toMatchObject({ 'lib-name': 'concurrency-limit', 'lib-ver': version })
  expect(seen.name).toBe('reach')
})

test.runIf(process.platform === 'linux')('an idle connection is probed by the kernel', async () => {
  const limiter = new Limiter({ host: '127.0.0.1', port: server.port, clientName: 'idle' })
  await (await limiter.acquire({ key: 'idle', limit: 1 })).release()
  // /proc/net/tcp: remote port in hex, state 01 is established, timer 02 with the time to the probe in hundredths.
  const port = server.port.toString(16).toUpperCase().padStart(4, '0')
  const ours = new RegExp(`^ *\\d+: \\S+ 0100007F:${port} 01 \\S+ 02:([0-9A-F]{8})`, 'm')
  const line = await until(() => ours.exec(readFileSync('/proc/net/tcp', 'utf8')), 'the timer of keep-alive runs')
  expect(Number.parseInt(line[1], 16)).toBeLessThanOrEqual(1_000)
  await limiter.close()
})

test('REDIS_URL counts unless an option says where', async () => {
  const before = process.env.REDIS_URL
  process.env.REDIS_URL = `${server.url}/7`
  try {
    expect(await seenBy(options)).toMatchObject({ db: '7' })
    expect(await seenBy({ ...options, port: server.port })).toMatchObject({ db: '0' })
  } finally {
    if (before === undefined) delete process.env.REDIS_URL
    else process.env.REDIS_URL = before
  }
})

test.each([
  ['tls=true', 'url: the URL\'s parameter "tls" isn\'t known: db, username and password are'],
  ['family=5', 'url: the URL\'s parameter "family" isn\'t known'],
  ['db=x', 'url: the URL\'s database "x" is not a number'],
])('?%s is refused in a sentence that names it', (parameter, words) => {
  expect(() => new Limiter(`redis://:hunter2@127.0.0.1?${parameter}`)).toThrow(words)
})

test('an error names the place and no password', async () => {
  const limiter = new Limiter({ path: '/nowhere/redis.sock', password: 'hunter2' })
  const error = await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))
  expect(error).toBeInstanceOf(UnavailableError)
  expect(error.address).toBe('unix:///nowhere/redis.sock?db=0')
  expect(`${error.stack}${error.cause}`).not.toContain('hunter2')
  await limiter.close()
})

test('a server that may evict is warned of, once per connection, and works', async () => {
  await redis(server.port, 'CONFIG', 'SET', 'maxmemory', '100mb')
  await redis(server.port, 'CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  const limiter = new Limiter(`${server.url}/8`)
  const warnings = []
  limiter.on('warning', ({ message }) => warnings.push(message))
  for (let i = 0; i < 3; i++) await (await limiter.acquire({ key: 'k', limit: 1 })).release()
  expect(warnings).toEqual([expect.stringContaining('allkeys-lru')])
  await limiter.close()
  await redis(server.port, 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
  await redis(server.port, 'CONFIG', 'SET', 'maxmemory', '0')
})
