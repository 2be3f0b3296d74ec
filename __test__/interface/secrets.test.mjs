// Errors end in logs: whatever is wrong with the options, nothing that may be a secret is in an error, however it's
// printed.
import { inspect } from 'node:util'
import { ConcurrencyLimitError, ConfigError, Limiter, setDefaultLimiter } from 'concurrency-limit'
import Redis from 'ioredis'
import { describe, expect, test } from 'vitest'
import { rejection } from '../support/helpers.mjs'

const SECRET = 'hunter2'
const pair = { p: SECRET }
const asText = { toString: () => SECRET, secret: SECRET }
class Vault {
  secret = SECRET
}
const withNode = (node) => ({ cluster: [node] })
const sentinel = (options) => ({ sentinel: { name: 'm', nodes: ['h'], ...options } })

const BAD = {
  'an unknown option': [
    { passwrod: SECRET },
    { pass: SECRET },
    { auth: pair },
    { auth: { deep: { deeper: pair } } },
    { credentialsProvider: () => 'hunter2' },
    { socket: { host: 'h', ...pair } },
    { sentinelPassword: SECRET },
    { pin: Buffer.from(SECRET) },
    { __proto__: null, passwrod: SECRET },
    {
      get passwrod() {
        return SECRET
      },
    },
    { tls: { passphrase: SECRET } },
    { tls: { pfx: Buffer.from(SECRET) } },
    { tls: [SECRET] },
    sentinel({ passwrod: SECRET }),
    sentinel({ tls: { passphrase: SECRET } }),
  ],
  'a secret of another type': [
    ...[pair, [SECRET], Buffer.from(SECRET), asText, new Vault()].flatMap((value) => [
      { password: value },
      { username: value },
      { url: value },
      sentinel({ password: value }),
      sentinel({ name: value }),
      { tls: { servername: value } },
      sentinel({ tls: { rejectUnauthorized: value } }),
    ]),
    ...[pair, [pair], asText].flatMap((value) => [
      { tls: { key: value } },
      { tls: { cert: value } },
      { tls: { ca: value } },
      sentinel({ tls: { key: value } }),
    ]),
    { tls: SECRET },
    { sentinel: SECRET },
    { client: SECRET },
    { client: Object.assign(() => {}, pair) },
    { client: { options: { password: SECRET } } },
    { url: new URL('redis://u:hunter2@h') },
  ],
  'a url with credentials': [
    'host',
    'port',
    'path',
    'db',
    'tls',
    'cluster',
    'sentinel',
    'client',
    'connectTimeout',
    'commandTimeout',
    'maxConnections',
    'minReplicas',
    'replicaTimeout',
    'settle',
    'onUnavailable',
    'unavailableTimeout',
    'stallTimeout',
  ].flatMap((name) => ['redis://u:hunter2@h', 'u:hunter2@h', ':hunter2@h'].map((text) => ({ [name]: text }))),
  'credentials in an address': [
    withNode('u:hunter2@h'),
    withNode('redis://:hunter2@h:1'),
    withNode('h:hunter2'),
    withNode({ host: 'u:hunter2@h' }),
    withNode({ host: 'h', port: 1, password: SECRET }),
    { cluster: { rootNodes: [pair] } },
    sentinel({ nodes: ['u:hunter2@h'] }),
    sentinel({ nodes: [{ host: 'h', port: 1, password: SECRET }] }),
    sentinel({ nodes: 'redis://:hunter2@h' }),
    { clientName: 'u:hunter2@h x' },
    { keyPrefix: 'redis://:hunter2@h/{x}' },
    { tls: { servername: 'u:hunter2@h' } },
    { tls: { ca: `-----BEGIN PRIVATE KEY-----\n${SECRET}`.padEnd(2 ** 21) } },
  ],
}

const URLS = [
  'http://u:hunter2@h',
  'u:hunter2@h:6379',
  'redis:u:hunter2@h',
  'redis://u:hunter2',
  'redis://h:hunter2',
  'redis://hunter2@h:x',
  'redis://me@x.com:hunter2@h:x',
  'redis://us/er:hunter2@h',
  'redis://u:hun/hunter2@h',
  'redis://u:%zzhunter2@h',
  'redis://u:hunter2@h:99999',
  'redis://u:hunter2@h:6379:1',
  'redis://:hunter2@h/x',
  'redis://h?passwrod=hunter2',
  'redis://h/0?password=a&password=hunter2',
  'redis://h#hunter2',
  'redis://u:hunter2@\ud800',
  'unix:///s?password=hunter2&db=x',
  'redis+sentinel://u:hunter2@h,/m',
  'redis+cluster://u:hunter2@h/x',
  'memory://u:hunter2@h',
  'memory:hunter2',
  `redis://u:hunter2@${'h'.repeat(5000)}`,
]

function thrown(run) {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** All ways in which an error may get into a log. */
function expectNoSecret(error) {
  const { stack, message, given, expected, option, ...rest } = error
  const deep = { depth: 20, showHidden: true }
  const printed = [error, given, rest, { ...error }].map((value) => inspect(value, deep))
  expect([stack, message, expected, option, ...printed, JSON.stringify(error)].join('\n')).not.toContain(SECRET)
}

function expectHidden(run) {
  const error = thrown(run)
  expect(error).toBeInstanceOf(ConfigError)
  expect(error.message).toContain(error.option)
  expectNoSecret(error)
}

const named = (options) => options.map((one) => [inspect(one, { depth: 5, breakLength: Infinity }), one])

describe.each(Object.entries(BAD))('%s', (_, cases) => {
  test.each(named(cases))('is not shown: %s', (_, options) => {
    expectHidden(() => new Limiter(options))
  })
})

test.each(URLS)('a bad url is not shown: %s', (url) => {
  expectHidden(() => new Limiter(url))
  expectHidden(() => new Limiter({ url }))
  expectHidden(() => new Limiter({ url, path: '/s' }))
  expectHidden(() => new Limiter('redis://h', { url }))
  expectHidden(() => new Limiter('redis://h', url))
})

test('nor is what goes ill with a good one, or with arguments that changed places', () => {
  for (const args of [
    ['redis://:hunter2@h', { path: '/s' }],
    ['redis://u:hunter2@h', { url: 'redis://u:hunter2@h' }],
    [{ url: 'memory:', password: SECRET }],
    [{ password: SECRET }, { settle: 1 }],
    [['redis://u:hunter2@h'], {}],
    ['redis://h', SECRET],
    ['redis://h', [SECRET]],
  ]) {
    expectHidden(() => new Limiter(...args))
  }
  for (const limiter of [pair, new Vault(), 'redis://u:hunter2@h']) {
    expectHidden(() => setDefaultLimiter(limiter))
  }
})

test('nor what a request has by mistake', async () => {
  const limiter = new Limiter('memory:')
  const ok = { key: 'k', limit: 1 }
  for (const bad of [
    SECRET,
    { ...ok, apiKey: SECRET },
    { ...ok, key: pair },
    { ...ok, key: [SECRET] },
    { ...ok, key: `redis://u:hunter2@h/${'x'.repeat(600)}` },
    { ...ok, limit: 'redis://u:hunter2@h' },
    { ...ok, holder: new Vault() },
    { ...ok, signal: pair },
  ]) {
    expectNoSecret(await rejection(limiter.acquire(bad)))
  }
  expectNoSecret(await rejection(limiter.release({ key: 'k', token: SECRET })))
  expectNoSecret(await rejection(limiter.status(pair)))
  expectNoSecret(await rejection(limiter.close({ token: SECRET })))
  await limiter.close()
})

test("nor what a client's own errors and addresses tell", async () => {
  const client = new Redis({ host: 'u:hunter2@nowhere.invalid', lazyConnect: true, retryStrategy: () => 50 })
  client.on('error', () => {})
  const limiter = new Limiter({ client, connectTimeout: 0.5, commandTimeout: 0.5 })
  const error = await rejection(limiter.acquire({ key: 'k', limit: 1, limitTimeout: 0.5 }))
  expect(error).toBeInstanceOf(ConcurrencyLimitError)
  expect(error.code).toBe('ERR_UNAVAILABLE')
  expectNoSecret(error)
  await limiter.close()
  client.disconnect()
})

test('what helps is shown: numbers, plain texts, and the kind of the rest', () => {
  const message = (options) => thrown(() => new Limiter(options)).message
  expect(message({ port: '6379' })).toMatch(/but got '6379'$/)
  expect(message({ settle: -1 })).toMatch(/but got -1$/)
  expect(message({ host: 'a b' })).toMatch(/but got 'a b'$/)
  expect(message({ password: 5 })).toMatch(/but got a number that is not shown$/)
  expect(message({ password: '' })).toMatch(/but got ''$/)
  expect(message({ url: new URL('redis://h') })).toMatch(/but got an object of the class URL$/)
  expect(message({ cluster: 'a:1' })).toMatch(/but got 'a:1'$/)
})
