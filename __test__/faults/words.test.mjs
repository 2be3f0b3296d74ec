// What a server refused with is in the error, word for word; "not reachable" is said only where nothing answered.
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { Limiter } from 'concurrency-limit'
import { afterEach, describe, expect, test } from 'vitest'
import { bring, KINDS } from '../support/clients.mjs'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'
import { debugArgs, freePort } from '../support/programs.mjs'

const ends = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function serve(options) {
  const server = await startRedis(options)
  ends.push(server.stop)
  return server
}

function limiterOf(place, options = {}) {
  const limiter = new Limiter(place, { ...TIMES, ...options })
  ends.push(() => limiter.close({ release: false }))
  return limiter
}

/** The error tells that the server answered, and what. */
function expectWords(error, words) {
  expect(error.code, error.stack).toBe('ERR_UNAVAILABLE')
  expect(error.message).toMatch(words)
  expect(error.message).not.toContain('not reachable')
  expect(error.cause.message).toMatch(words)
  expect(error.answered).toBe(true)
}

const TIMES = { connectTimeout: 1.5, commandTimeout: 1 }
const holding = { key: 'k', limit: 1, limitExpire: 60, holder: 'h', limitTimeout: 0 }
const once = { key: 'k', limit: 1, limitTimeout: 0 }
const patient = { key: 'k', limit: 1, limitTimeout: 1 }

/** New requests fail with the server's words. */
async function expectRequests(limiter, words) {
  const asked = [limiter.acquire(patient), limiter.tryAcquire(once)]
  for (const error of await Promise.all(asked.map(rejection))) expectWords(error, words)
}

/** Somebody holds `k` by a name; gives the question to release it. */
async function heldBefore(url) {
  await limiterOf(url, { clientName: 'holder' }).acquire(holding)
  return { key: 'k', holder: 'h' }
}

/** Questions fail with the server's words, too: all, where a server answers none. */
async function expectQuestions(limiter, words) {
  const keys = async () => {
    for await (const key of limiter.keys()) throw new Error(`it gave ${key}`)
  }
  for (const error of await Promise.all([limiter.status('k'), limiter.clean('k'), keys()].map(rejection)))
    expectWords(error, words)
}

describe('a server that refuses to write says why', () => {
  test('too few replicas (NOREPLICAS), also over a client of the user’s own', async () => {
    const { port, url } = await serve()
    const held = await heldBefore(url)
    await redis(port, 'CONFIG', 'SET', 'min-replicas-to-write', 1)
    const limiter = limiterOf(url)
    await expectRequests(limiter, /NOREPLICAS Not enough good replicas to write/)
    expectWords(await rejection(limiter.release(held)), /NOREPLICAS Not enough good replicas to write/)
    for (const kind of KINDS) {
      const { client, end } = await bring(kind, { port })
      ends.push(end)
      await expectRequests(limiterOf(undefined, { client }), /NOREPLICAS Not enough good replicas to write/)
    }
  })

  test('snapshots that fail (MISCONF)', async () => {
    const { port, url } = await serve({ args: ['--save', '3600 1'] })
    const [, folder] = await redis(port, 'CONFIG', 'GET', 'dir')
    rmSync(folder, { recursive: true })
    await redis(port, 'BGSAVE')
    await until(async () => /rdb_last_bgsave_status:err/.test(await redis(port, 'INFO', 'persistence')), 'it failed')
    await expectRequests(limiterOf(url), /MISCONF .*RDB snapshots/)
  })

  test('a replica (READONLY)', async () => {
    const primary = await serve()
    const { url } = await serve({ args: ['--replicaof', '127.0.0.1', String(primary.port)] })
    await expectRequests(limiterOf(url), /READONLY You can't write against a read only replica/)
  })

  test('a cluster without hash slots (CLUSTERDOWN)', async () => {
    const { url } = await serve({ args: ['--cluster-enabled', 'yes'] })
    await expectRequests(limiterOf(url), /CLUSTERDOWN Hash slot not served/)
    const error = await rejection(limiterOf(url.replace('redis:', 'redis+cluster:')).tryAcquire(once))
    expectWords(error, /its cluster serves no hash slot/)
  })

  test('the member of a cluster that has the group (NOREPLICAS)', async () => {
    const { port, url } = await serve({ args: ['--cluster-enabled', 'yes'] })
    const slots = Array.from({ length: 16_384 }, (_, slot) => slot)
    await redis(port, 'CLUSTER', 'ADDSLOTS', ...slots)
    await until(async () => /cluster_state:ok/.test(await redis(port, 'CLUSTER', 'INFO')), 'the cluster serves', 20_000)
    await redis(port, 'CONFIG', 'SET', 'min-replicas-to-write', 1)
    const limiter = limiterOf(url.replace('redis:', 'redis+cluster:'))
    await expectRequests(limiter, new RegExp(`127.0.0.1:${port} says: NOREPLICAS Not enough good replicas`))
  })
})

describe('a server that answers nothing but its refusal says it', () => {
  test('busy with a script (BUSY)', async () => {
    const { port, url } = await serve({ args: ['--lua-time-limit', '50'] })
    const limiter = limiterOf(url)
    await limiter.status('k')
    const forever = redis(port, 'EVAL', 'while true do end', 0).catch(() => {})
    const busy = async () => /BUSY/.test(await redis(port, 'GET', 'k').catch((error) => error.message))
    await until(busy, 'it is busy')
    await expectRequests(limiter, /BUSY Redis is busy running a script/)
    await expectQuestions(limiter, /BUSY Redis is busy running a script/)
    // To whoever comes only now, too.
    await expectRequests(limiterOf(url, { clientName: 'late' }), /BUSY Redis is busy running a script/)
    await redis(port, 'SCRIPT', 'KILL')
    await forever
  })

  test('loading its data (LOADING)', async () => {
    const { port, url } = await serve({
      args: ['--rdbcompression', 'no', '--loading-process-events-interval-bytes', '1024', ...debugArgs()],
    })
    for (let i = 0; i < 500; i++) await redis(port, 'SET', `filler${i}`, 'x'.repeat(2048))
    const limiter = limiterOf(url)
    await limiter.status('k')
    await redis(port, 'CONFIG', 'SET', 'key-load-delay', 40_000)
    const reload = connect(port, '127.0.0.1').on('error', () => {})
    ends.push(() => reload.destroy())
    reload.write('DEBUG RELOAD\r\n')
    const loading = async () => /LOADING/.test(await redis(port, 'GET', 'k').catch((error) => error.message))
    await until(loading, 'it loads')
    const words = /LOADING Redis is loading the dataset in memory/
    const late = limiterOf(url, { clientName: 'late' })
    expectWords(await rejection(late.acquire({ ...patient, limitTimeout: 2 })), words)
    expectWords(await rejection(late.tryAcquire(once)), words)
    await expectQuestions(late, words)
  })

  test('a replica without its primary (MASTERDOWN)', async () => {
    const nobody = String(await freePort())
    const { url } = await serve({ args: ['--replicaof', '127.0.0.1', nobody, '--replica-serve-stale-data', 'no'] })
    await expectRequests(limiterOf(url), /MASTERDOWN Link with MASTER is down/)
    await expectQuestions(limiterOf(url), /MASTERDOWN Link with MASTER is down/)
  })

  test('too many clients', async () => {
    const { port, url } = await serve()
    const others = Array.from({ length: 3 }, () => connect(port, '127.0.0.1').on('error', () => {}))
    for (const other of others) ends.push(() => other.destroy())
    await until(async () => /connected_clients:4/.test(await redis(port, 'INFO', 'clients')), 'they are connected')
    await redis(port, 'CONFIG', 'SET', 'maxclients', 3)
    await expectRequests(limiterOf(url), /max number of clients reached/)
    await expectQuestions(limiterOf(url, { clientName: 'other' }), /max number of clients reached/)
  })

  test('a wrong password, and none', async () => {
    const { port, url } = await serve()
    await expectRequests(limiterOf(url, { username: 'nobody', password: 'hunter2' }), /WRONGPASS invalid username/)
    await redis(port, 'CONFIG', 'SET', 'requirepass', 'hunter2')
    await expectRequests(limiterOf(url), /NOAUTH/)
  })

  test('a right that is missing (NOPERM)', async () => {
    const { port, url } = await serve()
    await redis(port, 'ACL', 'SETUSER', 'narrow', 'on', '>p', '~other', '&*', '+@all', '-scan')
    const limiter = limiterOf(url, { username: 'narrow', password: 'p' })
    await expectRequests(limiter, /NOPERM|permissions/)
    await expectQuestions(limiter, /NOPERM|permissions/)
  })
})

test('a server that falls silent after a refusal is not reachable, and what it said is told', async () => {
  const { port, pid, url } = await serve()
  await redis(port, 'CONFIG', 'SET', 'min-replicas-to-write', 1)
  const limiter = limiterOf(url)
  const asked = rejection(limiter.acquire({ ...patient, limitTimeout: 5 }))
  // What is refused first is the library.
  const refused = async () => /NOREPLICAS:count=([2-9]|\d\d)/.test(await redis(port, 'INFO', 'errorstats'))
  await until(refused, 'it refused')
  process.kill(pid, 'SIGSTOP')
  const error = await asked
  expect(error.message).toMatch(/not reachable: .*; before that it said: NOREPLICAS Not enough good replicas/)
  expect(error.answered).toBe(false)
})

test('where nothing answers, nothing else is said', async () => {
  const { pid, url } = await serve()
  const nobody = await rejection(limiterOf(`redis://127.0.0.1:${await freePort()}`).tryAcquire(once))
  const limiter = limiterOf(url)
  await limiter.status('k')
  process.kill(pid, 'SIGSTOP')
  for (const error of [nobody, await rejection(limiter.acquire(patient)), await rejection(limiter.status('k'))]) {
    expect(error.code).toBe('ERR_UNAVAILABLE')
    expect(error.message).toContain('not reachable')
    expect(error.answered).toBe(false)
  }
})
