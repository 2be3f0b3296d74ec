// The boot check: whether leases can be had, before anybody asks for one.
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Limiter } from '../../index.js'
import { redis, rejection, startRedis } from '../support/helpers.mjs'
import { freePort } from '../support/programs.mjs'

let server
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

/** What `look` gives with a limiter. */
async function using(limiter, look) {
  try {
    return await look(limiter)
  } finally {
    await limiter.close()
  }
}

test('resolves where leases can be had, and holds nothing', async () => {
  for (const place of ['memory:', server.url]) {
    const held = await using(new Limiter(place), async (limiter) => {
      expect(await limiter.ready()).toEqual({ warnings: [] })
      return (await limiter.stats()).held
    })
    expect(held).toBe(0)
  }
  const client = new Redis(server.url)
  expect(await using(new Limiter({ client }), (limiter) => limiter.ready())).toEqual({ warnings: [] })
  client.disconnect()
})

test('rejects in its own time where nothing answers, also if something would stand in', async () => {
  const url = `redis://127.0.0.1:${await freePort()}`
  for (const [options, timeout] of [
    [{}, 0.3],
    [{ onUnavailable: 'allow', connectTimeout: 0.3, commandTimeout: 0.1 }, 0.3],
  ]) {
    const began = performance.now()
    const error = await using(new Limiter(url, options), (limiter) => rejection(limiter.ready({ timeout })))
    expect(error).toMatchObject({ code: 'ERR_UNAVAILABLE', answered: false })
    expect(performance.now() - began).toBeLessThan(5000)
  }
})

test('rejects where rights lack, with the words of the server', async () => {
  await redis(server.port, 'ACL', 'SETUSER', 'reader', 'on', '>pw', '~*', '&*', '+@all', '-@scripting')
  const options = { username: 'reader', password: 'pw' }
  const error = await using(new Limiter(server.url, options), (limiter) => rejection(limiter.ready({ timeout: 1 })))
  expect(error).toMatchObject({
    code: 'ERR_UNAVAILABLE',
    answered: true,
    message: expect.stringMatching(/NOPERM .*no permissions to run/),
  })
})

test('resolves with what works but not as meant', async () => {
  const policy = ['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru']
  const evicting = await startRedis({ args: policy })
  try {
    const { warnings } = await using(new Limiter(evicting.url), (limiter) => limiter.ready())
    expect(warnings).toEqual([expect.stringContaining('allkeys-lru')])
  } finally {
    await evicting.stop()
  }
})

test('takes a signal, refuses what it does not know, and rejects once the limiter is closed', async () => {
  const url = `redis://127.0.0.1:${await freePort()}`
  const reason = new Error('enough')
  const closed = await using(new Limiter(url), async (limiter) => {
    const leave = new AbortController()
    const asked = rejection(limiter.ready({ signal: leave.signal }))
    leave.abort(reason)
    expect(await asked).toBe(reason)
    expect(await rejection(limiter.ready({ timeout: -1 }))).toMatchObject({ code: 'ERR_CONFIG', option: 'timeout' })
    expect(await rejection(limiter.ready({ limit: 1 }))).toMatchObject({ code: 'ERR_CONFIG', option: 'limit' })
    return limiter
  })
  expect(await rejection(closed.ready())).toMatchObject({ code: 'ERR_CLOSED' })
})
