// Which process holds and waits, as others are told: by default, by a name, not at all; and after Redis lost the state.
import { hostname } from 'node:os'
import { Worker } from 'node:worker_threads'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { redis, startProcess, until } from '../support/helpers.mjs'

const server = useRedis()
let limiter
beforeAll(() => {
  limiter = new Limiter(server.url)
})
afterAll(() => limiter.close())

const holders = async (key) => (await limiter.status(key)).holders
const processes = async (key) => (await holders(key)).map(({ host, pid, program }) => [host, pid, program])

test('another process is told of with host name, process id and the name of its main script', async () => {
  const other = startProcess({ url: server.url })
  await other.call('acquire', { key: 'other', limit: 1 })
  expect(await processes('other')).toEqual([[hostname(), other.pid, 'worker.mjs']])
  other.kill('SIGKILL')
  await other.ended
})

test('identity names the program, else clientName does; a long host or name is cut', async () => {
  for (const [options, program] of [
    [{ identity: 'billing worker ü' }, 'billing worker ü'],
    [{ identity: 'billing', clientName: 'conn' }, 'billing'],
    [{ clientName: 'c'.repeat(100) }, 'c'.repeat(64)],
  ]) {
    const named = new Limiter(server.url, options)
    await named.withLimit({ key: 'named', limit: 1 }, async () => {
      expect(await processes('named')).toEqual([[hostname(), process.pid, program]])
    })
    await named.close()
  }
})

test('with identity: false nothing is told, nor written to Redis', async () => {
  const silent = new Limiter(server.url, { identity: false, clientName: 'silent' })
  await silent.withLimit({ key: 'silent', limit: 1 }, async () => {
    expect(await processes('silent')).toEqual([[null, null, null]])
    const stored = await redis(server.port, 'HGETALL', 'cl:{silent}')
    expect(stored.filter((_, i) => i % 2 === 0 && stored[i].startsWith('p'))).toEqual([])
    expect(stored.join()).not.toContain(hostname())
  })
  await silent.close()
})

test('it is told again after Redis has lost the state', async () => {
  const lease = await limiter.acquire({ key: 'lost', limit: 1, limitExpire: 2 })
  await redis(server.port, 'FLUSHALL')
  const told = await until(async () => (await processes('lost')).find(([host]) => host !== null), 'told again')
  expect(told.slice(0, 2)).toEqual([hostname(), process.pid])
  expect(await lease.release()).toBe(true)
})

test('it is told once: later requests send nothing more', async () => {
  const written = async () =>
    Number(/cmdstat_hset:calls=(\d+)/.exec(await redis(server.port, 'INFO', 'commandstats'))[1])
  const fields = async () => (await redis(server.port, 'HGET', 'cl:{once}', `p${session}`)) ?? ''
  const { leaseId } = await limiter.acquire({ key: 'once', limit: 1 })
  const session = leaseId.split('-')[0]
  const first = await fields()
  expect(first).toMatch(/^\d+ \d+ \d+ \d+ /)
  await limiter.release({ key: 'once', leaseId })
  const before = await written()
  for (let i = 0; i < 10; i++) await limiter.withLimit({ key: 'once', limit: 1 }, async () => {})
  expect(await written()).toBeGreaterThan(before)
  expect(await fields()).toBe(first)
})

test('limiters of all threads share a session and say the same of themselves', async () => {
  const source = `
    const { Limiter } = require('concurrency-limit')
    const { parentPort, workerData } = require('node:worker_threads')
    const limiter = new Limiter(workerData)
    limiter.acquire({ key: 'threads', limit: 2 }).then(({ leaseId }) => parentPort.postMessage(leaseId))
    parentPort.once('message', () => limiter.close())`
  const worker = new Worker(source, { eval: true, workerData: server.url })
  const theirs = await new Promise((resolve) => worker.once('message', resolve))
  const ours = await limiter.acquire({ key: 'threads', limit: 2 })
  expect(theirs.split('-')[0]).toBe(ours.leaseId.split('-')[0])
  const [one, two] = await processes('threads')
  expect(one).toEqual(two)
  worker.postMessage('end')
  await ours.release()
})
