// Keys of any text work as they are and never meet; a Redis key of another type is left alone.
import { Limiter, ProtocolError } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redis, rejection, startRedis } from '../support/helpers.mjs'

const KEYS = [
  'plain',
  '{braces}',
  '}first',
  '{',
  '}{',
  '{}',
  '%7D',
  '%',
  'with spaces and\ttabs',
  'two\nlines\r\n',
  'quotes \' " `',
  'a:b:ends',
  '*',
  '\u0000zero',
  'emoji 🐝 and ümläuts',
  '日本語',
  'x'.repeat(512),
  '🐝'.repeat(128),
]

let server
let limiter
let other
beforeAll(async () => {
  server = await startRedis()
  limiter = new Limiter(server.url)
  other = new Limiter({ url: server.url, clientName: 'other' })
})
afterAll(() => server?.stop())
afterAll(async () => {
  await limiter?.close()
  await other?.close()
})

describe('a key of any text', () => {
  test.each(KEYS)('%j is a group of its own', async (key) => {
    const lease = await limiter.acquire({
      key,
      limit: 1,
      holder: `holder ${key.slice(0, 20)}`,
      label: key.slice(0, 20),
    })
    expect(lease.key).toBe(key)
    expect(await other.tryAcquire({ key, limit: 1 })).toBeNull()
    const next = other.acquire({ key, limit: 1 })
    const { held, holders } = await other.status(key)
    expect(held).toBe(1)
    expect(holders[0]).toMatchObject({ leaseId: lease.leaseId, slots: [1], label: key.slice(0, 20) })
    await lease.release()
    await (await next).release()
  })

  test('keys() names each of them once they exist, and a pattern chooses', async () => {
    const seen = new Set()
    for await (const key of limiter.keys()) seen.add(key)
    expect([...seen].sort()).toEqual([...KEYS].sort())
    const chosen = []
    for await (const key of limiter.keys('pl*n')) chosen.push(key)
    expect(chosen).toEqual(['plain'])
  })

  test('no two of them share a Redis key, and all Redis keys of a group have its hash tag', async () => {
    const names = await redis(server.port, 'KEYS', '*')
    const groups = names.filter((name) => name.endsWith('}'))
    expect(new Set(groups).size).toBe(KEYS.length)
    for (const name of names) expect(groups.some((group) => name.startsWith(group))).toBe(true)
  })

  test('another keyPrefix is another world', async () => {
    const elsewhere = new Limiter({ url: server.url, keyPrefix: 'elsewhere' })
    const lease = await limiter.acquire({ key: 'prefix', limit: 1 })
    const same = await elsewhere.tryAcquire({ key: 'prefix', limit: 1 })
    expect(same.slot).toBe(1)
    expect(await redis(server.port, 'EXISTS', 'elsewhere:{prefix}')).toBe(1)
    await same.release()
    await lease.release()
    await elsewhere.close()
  })

  test('another db is another world', async () => {
    const elsewhere = new Limiter({ host: '127.0.0.1', port: server.port, db: 3 })
    const lease = await limiter.acquire({ key: 'db', limit: 1 })
    const same = await elsewhere.tryAcquire({ key: 'db', limit: 1 })
    expect(same.slot).toBe(1)
    await same.release()
    await lease.release()
    await elsewhere.close()
  })
})

describe('a Redis key of another type', () => {
  test.each([
    ['cl:{string}', ['SET', 'cl:{string}', 'precious'], ['GET', 'cl:{string}'], 'precious'],
    ['cl:{list}', ['RPUSH', 'cl:{list}', 'a', 'b'], ['LRANGE', 'cl:{list}', 0, -1], ['a', 'b']],
    ['cl:{hash}', ['HSET', 'cl:{hash}', 'mine', '1'], ['HGETALL', 'cl:{hash}'], ['mine', '1']],
    ['cl:{queue}:queue', ['SET', 'cl:{queue}:queue', 'x'], ['GET', 'cl:{queue}:queue'], 'x'],
  ])('%s is a ProtocolError, and its data stay', async (name, write, read, data) => {
    await redis(server.port, ...write)
    const key = /\{(.*)\}/.exec(name)[1]
    for (const call of [
      limiter.acquire({ key, limit: 1 }),
      limiter.tryAcquire({ key, limit: 1 }),
      limiter.status(key),
    ]) {
      const error = await rejection(call)
      expect(error).toBeInstanceOf(ProtocolError)
      expect(error).toMatchObject({ code: 'ERR_PROTOCOL', key })
    }
    expect(await redis(server.port, ...read)).toEqual(data)
    expect(await redis(server.port, 'PTTL', name)).toBe(-1)
  })
})
