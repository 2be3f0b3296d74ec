// doctor: finds what is wrong with a server, says what to change, and changes nothing.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { makeCertificates, speaksTls, tlsArgs } from '../support/certificates.mjs'
import { cli } from '../support/cli.mjs'
import { redis, startRedis } from '../support/helpers.mjs'
import { startCluster } from '../support/members.mjs'
import { freePort } from '../support/programs.mjs'
import { startReplica, startSentinel } from '../support/replicas.mjs'

const require = createRequire(import.meta.url)
const { placeOf } = require('../../cli/server/place.js')
const { probesOf } = require('../../cli/doctor/rights.js')

const running = []
afterEach(async () => {
  for (const server of running.splice(0).reverse()) await server.stop()
})
async function start(...args) {
  const server = await startRedis({ age: 0, args })
  running.push(server)
  return server
}

/** Its exit code, and the findings about each server by what they are about. */
async function examine(url, ...more) {
  const { code, stdout, stderr } = await cli(['doctor', '--json', ...more], { env: { REDIS_URL: url } })
  if (stdout === '') throw new Error(`exit ${code}: ${stderr}`)
  const { healthy, servers } = JSON.parse(stdout)
  return {
    ...{ code, healthy, servers },
    findings: servers.map(({ findings }) => Object.fromEntries(findings.map((finding) => [finding.check, finding]))),
  }
}

test('a good server has no problems, is told as text, and is as it was', async () => {
  const server = await start('--appendonly', 'yes')
  const before = await redis(server.port, 'DBSIZE')
  const { code, healthy, findings } = await examine(server.url)
  expect({ code, healthy }).toEqual({ code: 0, healthy: true })
  for (const check of ['server', 'role', 'policy', 'memory', 'latency', 'clock', 'rights', 'push', 'persistence']) {
    expect(findings[0][check]).toMatchObject({ level: 'ok' })
  }
  expect(findings[0].replicas).toMatchObject({ level: 'note', change: expect.stringContaining('Sentinel') })
  const { stdout } = await cli(['doctor'], { env: { REDIS_URL: server.url, LANG: 'C' } })
  expect(stdout).toMatch(/^127\.0\.0\.1:\d+\n {2}ok +server +(Redis|Valkey) \d/)
  expect(stdout).toMatch(/no problems, 1 to think about\n$/)
  expect(await redis(server.port, 'DBSIZE')).toBe(before)
})

test('eviction, short idle times and a full memory are found, and end with 1', async () => {
  const server = await start('--maxmemory', '1500000', '--maxmemory-policy', 'allkeys-lru', '--timeout', '30')
  const { code, findings } = await examine(server.url)
  expect(code).toBe(1)
  expect(findings[0].policy).toMatchObject({ level: 'problem', change: expect.stringContaining('noeviction') })
  expect(findings[0].timeout).toMatchObject({ level: 'note' })
  const { code: textCode, stdout } = await cli(['doctor'], { env: { REDIS_URL: server.url, LANG: 'C' } })
  expect(textCode).toBe(1)
  expect(stdout).toMatch(/PROBLEM +policy .*\n +→ set maxmemory-policy to noeviction/)
})

test('rights that are missing are named; what may not be looked at is left out', async () => {
  const server = await start()
  const rights = ['+@all', '-config', '-zcount', '-info', '-@scripting', '-publish']
  await redis(server.port, 'ACL', 'SETUSER', 'app', 'on', '>secret', 'allkeys', 'allchannels', ...rights)
  const { code, findings } = await examine(`redis://app:secret@127.0.0.1:${server.port}`)
  expect(code).toBe(1)
  expect(findings[0].rights.says).toMatch(
    /^not permitted: info, zcount, publish, (fcall, function\|load, )?evalsha, script\|load$/,
  )
  expect(findings[0].push).toMatchObject({ level: 'problem', says: expect.stringContaining('NOPERM') })
  expect(findings[0].info).toMatchObject({ level: 'note' })
  expect(findings[0].policy).toBeUndefined()
})

test('scripts are enough where functions are not permitted', async () => {
  const server = await start()
  const rights = ['allkeys', 'allchannels', '+@all', '-@scripting', '+evalsha', '+script|load']
  await redis(server.port, 'ACL', 'SETUSER', 'app', 'on', '>secret', ...rights)
  const { code, findings } = await examine(`redis://app:secret@127.0.0.1:${server.port}`)
  expect(code).toBe(0)
  expect(findings[0].rights.level).toMatch(/^(note|ok)$/) // before Redis 7.0 there are no functions
})

test('rights are asked for the keys and channels of the prefix', async () => {
  const server = await start()
  await redis(server.port, 'ACL', 'SETUSER', 'app', 'on', '>secret', '~app:*', 'resetchannels', '&app:push:*', '+@all')
  const url = `redis://app:secret@127.0.0.1:${server.port}`
  expect((await examine(url, '--prefix', 'app')).findings[0].rights).toMatchObject({ level: 'ok' })
  expect((await examine(url)).findings[0].rights.says).toContain('hset')
})

test('all rights that docs/operations.md names are tried', () => {
  const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const [, rights] = /^```\n(ACL SETUSER limiter .*?)^```$/ms.exec(operations)
  const documented = [...rights.matchAll(/\+([\w|]+)/g)].map(([, name]) => name)
  // The first two are tried by connecting, and subscribing by listening to a publication.
  const tried = ['auth', 'select', 'subscribe', ...Object.keys(probesOf('cl'))]
  expect(tried).toEqual(expect.arrayContaining(documented))
})

test('a password that is wrong is a refusal, not a finding', async () => {
  const server = await start()
  await redis(server.port, 'CONFIG', 'SET', 'requirepass', 'right')
  const { code, stderr } = await cli(['doctor'], { env: { REDIS_URL: `redis://:wrong@127.0.0.1:${server.port}` } })
  expect(code).toBe(69)
  expect(stderr).toMatch(/WRONGPASS/)
  expect(stderr).not.toContain('wrong@')
})

describe('the servers are those that a limiter would use', () => {
  test('a replica is a problem, and with Sentinel it is the primary that is looked at', async () => {
    const primary = await start()
    const replica = await startReplica(primary.port)
    const sentinel = await startSentinel('main', primary.port, 1)
    running.push(replica, sentinel)
    const { findings } = await examine(replica.url)
    expect(findings[0].role).toMatchObject({ level: 'problem', says: `a replica of 127.0.0.1:${primary.port}` })
    const { servers } = await examine(`redis+sentinel://127.0.0.1:${sentinel.port}/main`)
    expect(servers.map(({ address }) => address)).toEqual([`127.0.0.1:${primary.port}`])
    expect(servers[0].findings.find(({ check }) => check === 'replicas')).toMatchObject({ level: 'note' })
  })

  test('of a cluster every master is looked at; reached as a single server it is a problem', async () => {
    const cluster = await startCluster()
    running.push(cluster)
    const { findings } = await examine(cluster.url)
    expect(findings).toHaveLength(3)
    for (const { cluster: found } of findings) expect(found).toMatchObject({ level: 'ok' })
    const member = await examine(`redis://${cluster.nodes[0]}`)
    expect(member.findings[0].cluster).toMatchObject({
      ...{ level: 'problem', change: expect.stringContaining('redis+cluster://') },
    })
  }, 60_000)

  test.skipIf(!speaksTls())('over TLS, with the certificates of the flags', async () => {
    const made = makeCertificates()
    const tlsPort = await freePort()
    await start(...tlsArgs(made, tlsPort, 'yes'))
    const file = (name) => join(made.folder, name)
    const flags = ['--tls-ca', file('authority.crt'), '--tls-cert', file('client.crt'), '--tls-key', file('client.key')]
    expect(await examine(`rediss://127.0.0.1:${tlsPort}`, ...flags)).toMatchObject({ code: 0 })
    made.remove()
  })

  test.each([
    ['redis://h', { kind: 'server', nodes: [{ host: 'h', port: 6379 }], db: 0, secure: false }],
    [
      'rediss://u:p%40:q@[::1]:7/12?family=0',
      { nodes: [{ host: '::1', port: 7 }], db: 12, username: 'u', password: 'p@:q' },
    ],
    ['VALKEYS://:p@ss@h:1?db=3', { secure: true, password: 'p@ss', username: undefined, db: 3 }],
    ['unix:///run/my%20r.sock?db=2&user=u&pass=p', { kind: 'unix', path: '/run/my r.sock', db: 2, username: 'u' }],
    ['redis+unix://u:p@/s', { kind: 'unix', path: '/s', username: 'u', password: 'p', db: 0 }],
    [
      'redis+sentinel://a,[::1]:7/m%2Fy/4',
      { kind: 'sentinel', name: 'm/y', db: 4, nodes: [{ port: 26379 }, { port: 7 }] },
    ],
    [
      'rediss+cluster://:p@a,b:7',
      { kind: 'cluster', secure: true, password: 'p', nodes: [{ host: 'a' }, { host: 'b' }] },
    ],
  ])('%s is read as the package reads it', (url, parts) => {
    expect(placeOf(url)).toMatchObject(parts)
  })
})
