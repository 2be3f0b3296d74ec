// A connection that hangs is left for a fresh one within half a second, whatever hangs: the socket, TLS, the log-in, a
// sentinel, a member of a cluster, the second connection. What is only slow isn't given up.

import { connect } from 'node:net'
import { Limiter } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificates, speaksTls, tlsArgs } from '../support/certificates.mjs'
import { redis, startProcess, startRedis, until, watchPauses } from '../support/helpers.mjs'
import { startHole } from '../support/hole.mjs'
import { freePort } from '../support/programs.mjs'
import { startReplica, startSentinel } from '../support/replicas.mjs'

/** From the moment when a fresh socket would be answered: to the next attempt, and for that to be through. */
const BOUND_MS = 500 + 300
/** Long enough for several attempts to hang. */
const HANGS_MS = 1_700

let server, replica, certificates, tlsPort, sentinel, member
const ends = []
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

beforeAll(async () => {
  if (speaksTls()) {
    certificates = makeCertificates()
    tlsPort = await freePort()
  }
  server = await startRedis({ args: certificates ? tlsArgs(certificates, tlsPort, 'no') : [] })
  ;[replica, sentinel, member] = await Promise.all([
    startReplica(server.port),
    startSentinel('master', server.port, 1),
    startRedis({ args: ['--cluster-enabled', 'yes', '--cluster-require-full-coverage', 'no'] }),
  ])
  await redis(member.port, 'CLUSTER', 'ADDSLOTSRANGE', 0, 16383).catch(() => addSlots(member.port))
  await until(async () => /cluster_state:ok/.test(await redis(member.port, 'CLUSTER', 'INFO')), 'the cluster serves')
}, 60_000)

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

afterAll(async () => {
  await Promise.all([sentinel, replica, server, member].map((program) => program?.stop()))
  certificates?.remove()
})

/** Before 7.0 there are no ranges. */
function addSlots(port) {
  return redis(port, 'CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot))
}

async function holeIn(options) {
  const hole = await startHole(options)
  ends.push(hole.close)
  return hole
}

function limiterOf(...args) {
  const limiter = new Limiter(...args)
  ends.push(() => limiter.close())
  return limiter
}

/** Asks while everything hangs, fills the hole, and expects the answer within the bound. */
async function expectLeft(hole, to, limiter, key = 'hangs') {
  const pauses = watchPauses()
  const asked = limiter.acquire({ key, limit: 100, limitTimeout: 30 })
  asked.catch(() => {})
  await until(() => hole.opened() > 0, 'it tries')
  await sleep(HANGS_MS)
  hole.fill(to)
  const filledAt = performance.now()
  const lease = await asked
  const took = performance.now() - filledAt
  pauses.stop()
  expect(took).toBeLessThan(BOUND_MS + 2 * pauses.longest())
  expect(hole.opened()).toBeGreaterThan(2)
  expect(await lease.release()).toBe(true)
}

describe('what hangs is left for a fresh connection within half a second:', () => {
  test('a server', async () => {
    const hole = await holeIn()
    await expectLeft(hole, server.port, limiterOf({ port: hole.port }))
  })

  test('TLS', async ({ skip }) => {
    skip(certificates === undefined, 'without TLS')
    const hole = await holeIn()
    const limiter = limiterOf(`rediss://127.0.0.1:${hole.port}`, { tls: { ca: certificates.ca } })
    await expectLeft(hole, tlsPort, limiter)
  })

  test('the log-in of a server that takes sockets and does nothing', async () => {
    const stopped = await startRedis()
    ends.push(stopped.stop)
    process.kill(stopped.pid, 'SIGSTOP')
    const limiter = limiterOf({ port: stopped.port })
    const asked = limiter.acquire({ key: 'stopped', limit: 1, limitTimeout: 30 })
    await sleep(HANGS_MS)
    process.kill(stopped.pid, 'SIGCONT')
    const goesOnAt = performance.now()
    expect(await (await asked).release()).toBe(true)
    expect(performance.now() - goesOnAt).toBeLessThan(2 * BOUND_MS)
  })

  test('a socket whose packets are dropped', async () => {
    // The kernel drops what has no place in the line of a process that stands still, and tries again after 1, 3 and 7
    // s.
    const full = await startRedis({ args: ['--tcp-backlog', '1'] })
    ends.push(full.stop)
    process.kill(full.pid, 'SIGSTOP')
    const fillers = Array.from({ length: 4 }, () => connect(full.port, '127.0.0.1').on('error', () => {}))
    ends.push(() => {
      for (const socket of fillers) socket.destroy()
    })
    await sleep(200)
    const limiter = limiterOf({ port: full.port })
    const asked = limiter.acquire({ key: 'full', limit: 1, limitTimeout: 30 })
    // Between the kernel's tries.
    await sleep(3_300)
    process.kill(full.pid, 'SIGCONT')
    const goesOnAt = performance.now()
    expect(await (await asked).release()).toBe(true)
    expect(performance.now() - goesOnAt).toBeLessThan(2 * BOUND_MS)
  })

  test('a sentinel', async () => {
    const hole = await holeIn()
    const nodes = [`127.0.0.1:${hole.port}`]
    await expectLeft(hole, sentinel.port, limiterOf({ sentinel: { name: 'master', nodes } }))
  })

  test('a seed of a cluster', async () => {
    const hole = await holeIn()
    await expectLeft(hole, member.port, limiterOf({ cluster: [`127.0.0.1:${hole.port}`] }))
  })

  test('a server with one connection allowed: the fresh one takes the place of the one before', async () => {
    const hole = await holeIn()
    const limiter = limiterOf({ port: hole.port, maxConnections: 1 })
    const asked = limiter.acquire({ key: 'one', limit: 1, limitTimeout: 30 })
    await until(() => hole.opened() > 1, 'it tries again')
    hole.fill(server.port)
    const filledAt = performance.now()
    expect(await (await asked).release()).toBe(true)
    expect(performance.now() - filledAt).toBeLessThan(2_000)
  })
})

test('the second connection for pushes hangs: a fresh one has them', async () => {
  const old = await startRedis({ args: ['--rename-command', 'HELLO', ''] })
  ends.push(old.stop)
  // The first is refused RESP3, the second carries the calls.
  const hole = await holeIn({ to: old.port, swallows: [3] })
  const limiter = limiterOf({ port: hole.port, commandTimeout: 2 })
  let deaf = 0
  limiter.on('pushUnavailable', () => deaf++)
  expect(await (await limiter.acquire({ key: 'second', limit: 1 })).release()).toBe(true)
  expect(hole.opened()).toBe(4)
  expect(deaf).toBe(0)
})

test('a replica check whose connection hangs goes on with a fresh one', async () => {
  const hole = await holeIn({ to: server.port })
  const limiter = limiterOf({ port: hole.port, minReplicas: 1, replicaTimeout: 1 })
  await limiter.status('check')
  hole.fill(undefined)
  await expectLeft(hole, server.port, limiter, 'check')
})

test('a network that is slow but works is waited for: TLS and log-in take seconds', async () => {
  const line = await holeIn({ to: certificates ? tlsPort : server.port, delayMs: 150 })
  const url = `${certificates ? 'rediss' : 'redis'}://127.0.0.1:${line.port}`
  const tls = certificates && { ca: certificates.ca }
  const limiter = limiterOf(url, { tls, clientName: 'slow', connectTimeout: 5 })
  const startedAt = performance.now()
  const lease = await limiter.acquire({ key: 'slow', limit: 1 })
  // Longer than until the next attempt, so that there was one.
  expect(performance.now() - startedAt).toBeGreaterThan(900)
  expect(line.opened()).toBeGreaterThan(1)
  const ours = async () =>
    (await redis(server.port, 'CLIENT', 'LIST')).split('\n').filter((line) => line.includes(' name=slow ')).length
  await until(async () => (await ours()) === 1, 'one connection is left')
  expect(await lease.release()).toBe(true)
})

test('a machine vanishes and is back empty: who holds is back before it has settled, and keeps its slot', async () => {
  let behind = await startRedis()
  ends.push(() => behind.stop())
  const hole = await holeIn({ to: behind.port })
  const options = { port: hole.port }
  const config = { key: 'vanishes', limit: 4, limitExpire: 20, limitTimeout: 20 }
  const holders = [1, 2].map(() => startProcess(options))
  for (const holder of holders) ends.push(holder.stop)
  const leases = []
  for (const holder of holders) for (let i = 0; i < 2; i++) leases.push([holder, await holder.call('acquire', config)])
  hole.empty()
  for (const holder of holders) holder.call('wait', config, 1)
  await sleep(4_000)
  await behind.stop()
  behind = await startRedis({ age: 0 })
  hole.fill(behind.port)
  const newcomer = limiterOf({ port: behind.port })
  await expect(newcomer.acquire({ ...config, limitTimeout: 4 })).rejects.toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
  for (const [holder, { leaseId }] of leases) expect(await holder.call('isLost', leaseId)).toBe(false)
  for (const [holder, { leaseId }] of leases) expect((await holder.call('release', leaseId)).released).toBe(true)
}, 40_000)
