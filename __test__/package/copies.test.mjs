// Errors say the same wherever they are copied to; and two copies of the package in one process know each other's.
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import ours from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rejection } from '../support/helpers.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const { LeaseLostError, ProtocolError, BinaryError, QueueFullError } = createRequire(import.meta.url)(
  '../../lib/errors.js',
)

let folder
let theirs
let ourLimiter
let theirLimiter
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'copy-'))
  const binaries = readdirSync(ROOT).filter((name) => name.endsWith('.node'))
  for (const part of ['index.js', 'lib', 'native.js', 'package.json', ...binaries]) {
    cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  }
  theirs = createRequire(import.meta.url)(folder)
  ourLimiter = new ours.Limiter('memory:')
  theirLimiter = new theirs.Limiter('memory:')
})
afterAll(async () => {
  await Promise.all([ourLimiter?.close(), theirLimiter?.close()])
  rmSync(folder, { recursive: true })
})

async function full(limiter) {
  const lease = await limiter.acquire({ key: 'full', limit: 1 })
  const error = await rejection(limiter.acquire({ key: 'full', limit: 1, limitTimeout: 0 }))
  await lease.release()
  return error
}

const config = (limiter, given = 'x') => rejection(limiter.acquire({ key: 'k', limit: given }))

async function closed({ Limiter }) {
  const limiter = new Limiter('memory:')
  await limiter.close()
  return rejection(limiter.stats())
}

async function unavailable({ Limiter }) {
  const limiter = new Limiter('redis://127.0.0.1:1', { connectTimeout: 0.2, commandTimeout: 0.2 })
  const error = await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))
  await limiter.close()
  return error
}

const PLACE = { platform: 'linux', arch: 'x64', libc: null, node: '20', package: null }
const KINDS = {
  ConcurrencyLimitExceededError: ['ERR_LIMIT_EXCEEDED', () => full(ourLimiter)],
  ConfigError: ['ERR_CONFIG', () => config(ourLimiter)],
  ClosedError: ['ERR_CLOSED', () => closed(ours)],
  UnavailableError: ['ERR_UNAVAILABLE', () => unavailable(ours)],
  LeaseLostError: ['ERR_LEASE_LOST', () => new LeaseLostError('k', 1, 'why')],
  QueueFullError: ['ERR_QUEUE_FULL', () => new QueueFullError('k', 1)],
  ProtocolError: ['ERR_PROTOCOL', () => new ProtocolError('k', 'what')],
  BinaryError: ['ERR_BINARY', () => new BinaryError('none', PLACE, new Error('cause'))],
}

describe.each(Object.entries(KINDS))('a %s', (name, [code, make]) => {
  let error
  beforeAll(async () => {
    error = await make()
  })
  const says = { name, code }

  test('keeps name and code through JSON and spread', () => {
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ ...says, message: error.message })
    expect({ ...error }).toMatchObject(says)
    expect(Object.assign({}, error)).toMatchObject(says)
  })

  test('goes through structuredClone, postMessage and v8.serialize as toJSON() makes it', () => {
    const json = error.toJSON()
    expect(json).toMatchObject({ ...says, message: error.message })
    const { port1, port2 } = new MessageChannel()
    port1.postMessage(json)
    const { message: received } = receiveMessageOnPort(port2)
    port1.close()
    for (const copy of [structuredClone(json), deserialize(serialize(json)), received]) expect(copy).toEqual(json)
    // Of an error itself nothing else is kept than this, by the standard.
    const clone = structuredClone(error)
    expect(clone).toBeInstanceOf(Error)
    expect(clone.message).toBe(error.message)
    expect(clone.stack.startsWith(`${name}: ${error.message}`)).toBe(true)
  })

  test('says its name once when it is printed', () => {
    expect(inspect(error)).toContain(`code: '${code}'`)
    expect(inspect(error)).not.toContain('name: ')
  })
})

test('an error that carries what JSON has no words for becomes JSON all the same', async () => {
  const circular = {}
  circular.self = circular
  for (const given of [1n, circular, () => {}, Symbol('s')]) {
    const error = await config(ourLimiter, given)
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ code: 'ERR_CONFIG', option: 'limit' })
    expect(structuredClone(error.toJSON()).name).toBe('ConfigError')
  }
})

test("an error that ends a worker arrives with name, code and what it says in its parent's event", async () => {
  const source = `
    const { Limiter } = require(${JSON.stringify(ROOT)})
    new Limiter('memory:', { settle: -1 })`
  const worker = new Worker(source, { eval: true })
  const error = await new Promise((resolve) => worker.once('error', resolve))
  expect(error).toMatchObject({ name: 'ConfigError', code: 'ERR_CONFIG', option: 'settle', given: -1 })
})

describe('two copies of the package', () => {
  test('know the errors of each other by instanceof', async () => {
    expect(theirs.ConfigError).not.toBe(ours.ConfigError)
    const their = {
      ConcurrencyLimitExceededError: await full(theirLimiter),
      ConfigError: await config(theirLimiter),
      ClosedError: await closed(theirs),
      UnavailableError: await unavailable(theirs),
    }
    for (const [name, error] of Object.entries(their)) {
      for (const other of Object.keys(KINDS)) expect(error instanceof ours[other]).toBe(other === name)
      expect(error instanceof ours.ConcurrencyLimitError).toBe(true)
      expect(error instanceof Error).toBe(true)
      expect(error instanceof TypeError).toBe(name === 'ConfigError')
    }
  })

  test('what is no error of this package is an instance of none', () => {
    class Own extends ours.LeaseLostError {}
    for (const other of [
      undefined,
      null,
      'ConfigError',
      5,
      {},
      new Error('x'),
      { name: 'ConfigError' },
      new LeaseLostError(),
    ]) {
      expect(other instanceof ours.ConfigError).toBe(false)
      expect(other instanceof Own).toBe(false)
    }
    expect(new Own('k', 1, 'why') instanceof theirs.LeaseLostError).toBe(true)
    expect(new Own('k', 1, 'why') instanceof Own).toBe(true)
  })

  test('take a Limiter of each other', async () => {
    expect(theirLimiter instanceof ours.Limiter).toBe(true)
    class Own extends ours.Limiter {}
    expect(theirLimiter instanceof Own).toBe(false)
    ours.setDefaultLimiter(theirLimiter)
    expect(
      await ours.withLimit({ key: 'theirs', limit: 1 }, async () => (await theirLimiter.status('theirs')).held),
    ).toBe(1)
  })
})
