// The end of a scope (withLimit, await using): it doesn't wait for Redis's answer to the release, and loses nothing.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { Limiter } from 'concurrency-limit'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { runNode, until } from '../support/helpers.mjs'
import { startProxy } from '../support/proxy.mjs'

const server = useRedis()
const witness = useLimiter(server)

const free = async (key) => (await witness.status(key)).held === 0
const STALL_MS = 700

/** A limiter behind a proxy that can be held up: `work(limiter, proxy, ioredis)`. */
async function stalled(optionsOf, work) {
  const proxy = await startProxy(server.port)
  const redis = new Redis(proxy.port, '127.0.0.1', { maxRetriesPerRequest: null })
  const limiter = new Limiter(optionsOf(proxy, redis))
  try {
    await (await limiter.acquire({ key: 'warm', limit: 1 })).release()
    await work(limiter, proxy)
  } finally {
    await limiter.close()
    redis.disconnect()
    await proxy.close()
  }
}

async function timeOf(work) {
  const start = performance.now()
  await work()
  return performance.now() - start
}

const own = (proxy) => ({ url: `redis://127.0.0.1:${proxy.port}` })

test.each(['withLimit', 'await using'])('%s settles while the answer to its release is held up', async (how) => {
  await stalled(own, async (limiter, proxy) => {
    const config = { key: `scope ${how}`, limit: 1 }
    const scopes = {
      withLimit: () => limiter.withLimit(config, () => proxy.stall(STALL_MS)),
      'await using': async () => {
        const lease = await limiter.acquire(config)
        proxy.stall(STALL_MS)
        await lease[Symbol.asyncDispose]()
      },
    }
    expect(await timeOf(scopes[how])).toBeLessThan(STALL_MS / 2)
    await until(() => free(config.key), 'the slot is back')
  })
})

test('release() waits for the answer', async () => {
  await stalled(own, async (limiter, proxy) => {
    const lease = await limiter.acquire({ key: 'release', limit: 1 })
    proxy.stall(STALL_MS)
    let released
    expect(await timeOf(async () => (released = await lease.release()))).toBeGreaterThan(STALL_MS / 2)
    expect(released).toBe(true)
  })
})

test('over a client of the user’s own withLimit waits for the answer', async () => {
  const brought = (_, client) => ({ client })
  await stalled(brought, async (limiter, proxy) => {
    const scope = () => limiter.withLimit({ key: 'brought', limit: 1 }, () => proxy.stall(STALL_MS))
    expect(await timeOf(scope)).toBeGreaterThan(STALL_MS / 2)
    expect(await free('brought')).toBe(true)
  })
})

test('what withLimit gave back and what asks next go to Redis together', async () => {
  let writes = 0
  const counting = createServer((near) => {
    const far = connect(server.port, '127.0.0.1')
    near.on('data', (data) => {
      writes++
      far.write(data)
    })
    far.pipe(near)
    for (const socket of [near, far]) socket.setNoDelay(true).on('error', () => {})
    near.on('close', () => far.destroy())
  })
  counting.listen(0, '127.0.0.1')
  await once(counting, 'listening')
  const limiter = new Limiter(`redis://127.0.0.1:${counting.address().port}`)
  const wrapped = limiter.wrap({ key: 'together', limit: 1 }, () => 1)
  await wrapped()
  await limiter.status('together')
  writes = 0
  const ROUNDS = 50
  for (let round = 0; round < ROUNDS; round++) await wrapped()
  await limiter.status('together')
  expect(writes).toBeLessThan(ROUNDS * 1.2)
  await limiter.close()
  counting.close()
})

const PROCESSES = 8
const EXITS = {
  'process.exit': 'process.exit(0)',
  'an uncaught error': `queueMicrotask(() => { throw new Error('mine') })`,
  'the end of all work': '',
}

test.each(Object.entries(EXITS))('a process that ends by %s right after withLimit has given back', async (_, end) => {
  const source = (key) => `
    import { Limiter } from 'concurrency-limit'
    const limiter = new Limiter('${server.url}')
    await Promise.all([1, 2, 3].map(() => limiter.withLimit({ key: '${key}', limit: 3 }, () => {})))
    ${end}`
  const keys = Array.from({ length: PROCESSES }, (_, i) => `ends ${end.length} ${i}`)
  const look = async (key) => {
    await runNode(['--input-type=module', '-'], { source: source(key) })
    return free(key)
  }
  expect(await Promise.all(keys.map(look))).toEqual(keys.map(() => true))
})

test('a chain of withLimit that never leaves the microtasks lets the event loop turn', async () => {
  const limiter = new Limiter('memory:')
  let turns = 0
  const count = () => {
    turns++
    immediate = setImmediate(count)
  }
  let immediate = setImmediate(count)
  for (const end = performance.now() + 200; performance.now() < end; ) {
    await limiter.withLimit({ key: 'chain', limit: 1 }, () => {})
  }
  clearImmediate(immediate)
  expect(turns).toBeGreaterThan(4)
  await limiter.close()
})
