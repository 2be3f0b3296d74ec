// `settle` counts from the server's start, whose seconds begin anywhere, and from when it has loaded its data: nothing
// new is granted sooner, by this process's clock.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { open } from '../support/clients.mjs'
import { redis, startRedis, until } from '../support/helpers.mjs'
import { ask } from '../support/programs.mjs'

const SETTLE_MS = 2_000
const ends = []
afterAll(() => Promise.all(ends.map((end) => end())))

/** Resolves when the wall clock is at this part of a second. */
const at = (part) => new Promise((resolve) => setTimeout(resolve, (((part - Date.now()) % 1_000) + 1_000) % 1_000))

test.each([
  ['our own connection', undefined],
  ['ioredis', 'ioredis'],
  ['node-redis', 'node-redis'],
])('over %s, whenever in a second the server starts', async (_, client) => {
  const waits = [50, 350, 650, 950].map(async (part) => {
    await at(part)
    const startedAt = performance.now()
    const server = await startRedis({ age: 0 })
    const { limiter, end } = await open({ client, port: server.port })
    ends.push(() => end().then(server.stop))
    const lease = await limiter.acquire({ key: 'k', limit: 1 })
    const took = performance.now() - startedAt
    await lease.release()
    return took
  })
  for (const took of await Promise.all(waits)) {
    expect(took).toBeGreaterThanOrEqual(SETTLE_MS)
    // Nor needlessly later.
    expect(took).toBeLessThan(SETTLE_MS + 4_000)
  }
})

test('a server that loads its data for longer settles after that', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-load-'))
  const before = await startRedis({ args: ['--dir', folder], age: 0 })
  await redis(before.port, 'EVAL', "for i = 1, 4000 do redis.call('SET', 'other:' .. i, string.rep('x', 500)) end", 0)
  await redis(before.port, 'SAVE')
  await before.stop()
  // A millisecond for each key, and it answers meanwhile.
  const slow = ['--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024']
  const starting = startRedis({ port: before.port, args: ['--dir', folder, ...slow], age: 0 })
  const { limiter, end } = await open({ port: before.port })
  ends.push(() => end().then(async () => (await starting).stop()))
  let loading = 0
  const granted = limiter.acquire({ key: 'k', limit: 1, limitTimeout: 30 })
  await until(
    async () => {
      const info = await ask(before.port, 'INFO persistence').catch(() => '')
      if (/^loading:1/m.test(info)) loading = performance.now()
      return loading > 0 && /^loading:0/m.test(info)
    },
    'it has loaded its data',
    20_000,
  )
  await (await granted).release()
  expect(performance.now() - loading).toBeGreaterThanOrEqual(SETTLE_MS)
  rmSync(folder, { recursive: true, force: true })
})
