// Each refusal is a class of its own, carries what one needs to act, and names the caller in its stack.
import { createServer } from 'node:net'
import {
  ConcurrencyLimitError,
  ConcurrencyLimitExceededError,
  Limiter,
  QueueFullError,
  UnavailableError,
} from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { rejection, until } from '../support/helpers.mjs'

const server = useRedis()
let limiter
beforeAll(() => {
  limiter = new Limiter(server.url)
})
afterAll(() => limiter?.close())

test('a full limit tells key, limit, limitTimeout, waited, held, waiting and retryAfter', async () => {
  const lease = await limiter.acquire({ key: 'full', limit: 1, limitExpire: 30 })
  const patient = limiter.acquire({ key: 'full', limit: 1 })
  await until(async () => (await limiter.status('full')).waiting === 1, 'one waits')
  const error = await rejection(limiter.acquire({ key: 'full', limit: 1, limitTimeout: 0.2 }))
  expect(error).toBeInstanceOf(ConcurrencyLimitExceededError)
  expect(error).toBeInstanceOf(ConcurrencyLimitError)
  expect(error).toMatchObject({ name: 'ConcurrencyLimitExceededError', code: 'ERR_LIMIT_EXCEEDED' })
  expect(error).toMatchObject({ key: 'full', limit: 1, limitTimeout: 0.2, held: 1, waiting: 1 })
  expect(error.waited).toBeGreaterThanOrEqual(0.2)
  expect(error.waited).toBeLessThan(2)
  expect(error.retryAfter).toBeGreaterThan(0)
  expect(error.retryAfter).toBeLessThanOrEqual(30)
  await lease.release()
  await (await patient).release()
})

test('a full queue tells key and maxWaiting', async () => {
  const lease = await limiter.acquire({ key: 'queue', limit: 1 })
  const patient = limiter.acquire({ key: 'queue', limit: 1, maxWaiting: 1 })
  await until(async () => (await limiter.status('queue')).waiting === 1, 'one waits')
  const error = await rejection(limiter.acquire({ key: 'queue', limit: 1, maxWaiting: 1 }))
  expect(error).toBeInstanceOf(QueueFullError)
  expect(error).toMatchObject({ code: 'ERR_QUEUE_FULL', key: 'queue', maxWaiting: 1 })
  await lease.release()
  await (await patient).release()
})

test('the stack of an error shows who asked', async () => {
  const lease = await limiter.acquire({ key: 'stack', limit: 1 })
  async function aFunctionOfTheUser() {
    return await limiter.acquire({ key: 'stack', limit: 1, limitTimeout: 0 })
  }
  const error = await rejection(aFunctionOfTheUser())
  expect(error.stack).toContain('aFunctionOfTheUser')
  expect(error.stack.split('\n')[1]).toContain('acquire')
  await lease.release()
})

describe('a Redis that is not reachable', () => {
  async function expectUnavailable(port, limitTimeout, withinMs) {
    const options = { username: 'app', password: 'hunter2', connectTimeout: 0.3, commandTimeout: 0.3 }
    const lonely = new Limiter(`redis://127.0.0.1:${port}`, options)
    const start = performance.now()
    const error = await rejection(lonely.acquire({ key: 'k', limit: 1, limitTimeout }))
    expect(performance.now() - start).toBeLessThan(withinMs)
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.code).toBe('ERR_UNAVAILABLE')
    expect(error.address).toContain(`127.0.0.1:${port}`)
    expect(error.cause).toBeInstanceOf(Error)
    expect(`${error.stack}${error.cause.stack}${JSON.stringify(error)}`).not.toContain('hunter2')
    expect(await rejection(lonely.tryAcquire({ key: 'k', limit: 1 }))).toBeInstanceOf(UnavailableError)
    expect(await rejection(lonely.status('k'))).toBeInstanceOf(UnavailableError)
    await lonely.close()
  }

  const listen = (handler) =>
    new Promise((resolve) => {
      const silent = createServer(handler).listen(0, '127.0.0.1', () => resolve(silent))
    })

  test('because nobody listens there is an UnavailableError with address and cause, in time', async () => {
    const nobody = await listen()
    const { port } = nobody.address()
    await new Promise((resolve) => nobody.close(resolve))
    await expectUnavailable(port, 0.5, 3000)
  })

  test('because it never answers is an UnavailableError too', async () => {
    const sockets = []
    const silent = await listen((socket) => sockets.push(socket.on('error', () => {})))
    await expectUnavailable(silent.address().port, 0.5, 3000)
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => silent.close(resolve))
  })

  test('because the password is wrong is an UnavailableError or a ConfigError that does not tell it', async () => {
    const stranger = new Limiter(server.url, { username: 'nobody', password: 'hunter2' })
    const error = await rejection(stranger.acquire({ key: 'k', limit: 1, limitTimeout: 0.3 }))
    expect(error).toBeInstanceOf(ConcurrencyLimitError)
    expect(['ERR_UNAVAILABLE', 'ERR_CONFIG']).toContain(error.code)
    expect(`${error.stack}${JSON.stringify(error)}`).not.toContain('hunter2')
    await stranger.close()
  })
})
