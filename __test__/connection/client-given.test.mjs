// What is given as a client: one that isn't connected yet, and what is no client.
import { ConfigError, Limiter, UnavailableError } from 'concurrency-limit'
import { Redis } from 'ioredis'
import { createClient, createClientPool, createCluster } from 'redis'
import { describe, expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { rejection } from '../support/helpers.mjs'
import { freePort } from '../support/programs.mjs'

const server = useRedis()

describe('clients that are not connected yet', () => {
  test('one of ioredis that connects lazily is connected by the first request', async () => {
    const client = new Redis({ port: server.port, lazyConnect: true })
    const limiter = new Limiter({ client })
    expect(client.status).toBe('wait')
    await limiter.withLimit({ key: 'lazy', limit: 1 }, () => {})
    await limiter.close()
    client.disconnect()
  })

  test('one of node-redis is waited for', async () => {
    const client = createClient({ url: server.url }).on('error', () => {})
    const limiter = new Limiter({ client, connectTimeout: 0.2 })
    const early = await rejection(limiter.acquire({ key: 'lazy', limit: 1, limitTimeout: 0.3 }))
    expect(early).toBeInstanceOf(UnavailableError)
    expect(early.message).toContain('not ready')
    const lease = limiter.acquire({ key: 'lazy', limit: 1 })
    await client.connect()
    expect((await lease).slot).toBe(1)
    await limiter.close()
    client.destroy()
  })
})

describe('what is no client', () => {
  const lazy = new Redis({ lazyConnect: true })
  const refused = (options) => {
    try {
      new Limiter(options)
    } catch (error) {
      return error
    }
  }

  test.each([
    ['an empty object', {}],
    ['a function', () => {}],
    ['a pool of node-redis', createClientPool()],
    ['a cluster of node-redis', createCluster({ rootNodes: [{ url: 'redis://h' }] })],
    ['a pipeline of ioredis', lazy.pipeline()],
  ])('%s is refused', (_, client) => {
    const error = refused({ client })
    expect(error).toBeInstanceOf(ConfigError)
    expect(error).toMatchObject({ option: 'client' })
    expect(error.message).toContain('ioredis')
  })

  test('a url instead of a client is refused without its password', () => {
    const error = refused({ client: 'redis://:hunter2@h' })
    expect(error).toMatchObject({ code: 'ERR_CONFIG', option: 'client' })
    expect(error.message).not.toContain('hunter2')
  })

  test('a client with a key prefix of its own is refused by that name', () => {
    for (const client of [
      new Redis({ lazyConnect: true, keyPrefix: 'app:' }),
      createClient({ url: 'redis://:hunter2@h', keyPrefix: 'app:' }),
    ]) {
      const error = refused({ client })
      expect(error).toMatchObject({ code: 'ERR_CONFIG', option: 'client' })
      expect(error.message).toContain('keyPrefix')
      expect(error.message).not.toContain('hunter2')
    }
  })

  test.each([
    ['url', 'redis://h'],
    ['host', 'h'],
    ['port', 1],
    ['path', '/s'],
    ['db', 1],
    ['username', 'u'],
    ['password', 'p'],
    ['tls', true],
    ['cluster', ['h']],
    ['sentinel', { name: 'm', nodes: ['h'] }],
    ['clientName', 'n'],
    ['maxConnections', 3],
    ['minReplicas', 1],
  ])('%s beside a client is refused', (option, value) => {
    const error = refused({ client: lazy, [option]: value })
    expect(error).toBeInstanceOf(ConfigError)
    expect([option, 'client']).toContain(error.option)
  })
})

test('errors say where the client leads, without its password', async () => {
  const port = await freePort()
  const client = new Redis({ port, password: 'hunter2', retryStrategy: null }).on('error', () => {})
  const limiter = new Limiter({ client })
  const error = await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))
  expect(error).toBeInstanceOf(UnavailableError)
  expect(error.message).toContain(`:${port}`)
  expect(error.message).not.toContain('hunter2')
  await limiter.close()
})
