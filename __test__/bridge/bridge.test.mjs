// The bridge under load: several worker threads on one session get all their answers, and within the limit; one thread
// that gets very many still turns its event loop.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Limiter } from 'concurrency-limit'
import { expect, test } from 'vitest'
import { startRedis } from '../support/helpers.mjs'

const THREADS = 4

async function stress(url) {
  const shared = new SharedArrayBuffer(8)
  const workerData = { url, key: 'bridge', limit: 3, rounds: 40, tasks: 10, shared }
  const workers = Array.from(
    { length: THREADS },
    () => new Worker(new URL('../support/bridge.worker.mjs', import.meta.url), { workerData }),
  )
  const done = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]))
  expect(done).toEqual(Array(THREADS).fill(400))
  const [inside, most] = new Int32Array(shared)
  expect(inside).toBe(0)
  expect(most).toBeGreaterThan(0)
  expect(most).toBeLessThanOrEqual(3)
}

test('threads that share the embedded store all get their answers', () => stress('memory:'))

test('threads that share one connection to Redis all get their answers', async () => {
  const server = await startRedis()
  try {
    await stress(server.url)
  } finally {
    await server.stop()
  }
})

/** One lease, and two requests that wait for it; what happened in which order, and whether the event loop turned. */
async function inOrder(limiter) {
  const config = { key: 'order', limit: 1 }
  const order = []
  let hasTurned = false
  const immediate = setImmediate(() => {
    hasTurned = true
  })
  const lease = await limiter.acquire(config)
  const ask = async (name) => {
    const granted = await limiter.acquire(config)
    order.push(name)
    return granted.release()
  }
  const asked = [ask('second'), ask('third')]
  expect(await lease.release()).toBe(true)
  order.push('released')
  expect(await Promise.all(asked)).toEqual([true, true])
  clearImmediate(immediate)
  expect(order).toEqual(['released', 'second', 'third'])
  return hasTurned
}

test('what the process can answer by itself comes before the event loop turns, in order', async () => {
  const limiter = new Limiter('memory:')
  // On a busy machine the loop may get its turn all the same: it does after 5 ms.
  const turned = []
  while (turned.length < 100 && turned.at(-1) !== false) turned.push(await inOrder(limiter))
  expect(turned).toContain(false)
  await limiter.close()
})

test('more requests than a buffer holds, made in one go, are all answered', async () => {
  const limiter = new Limiter('memory:')
  const asked = Array.from({ length: 5_000 }, () => limiter.acquire({ key: 'many', limit: 5_000 }))
  const leases = await Promise.all(asked)
  expect(leases.map(({ slot }) => slot)).toEqual(leases.map((_, i) => i + 1))
  expect(new Set(await Promise.all(leases.map((lease) => lease.release())))).toEqual(new Set([true]))
  await limiter.close()
})

test('the event loop turns although answers come as fast as they are dealt with', async () => {
  const limiter = new Limiter('memory:')
  const order = []
  /** Is granted, asks for the next, and takes so long that the answer to that is there when it's done. */
  const step = async (n) => {
    const lease = await limiter.acquire({ key: 'stay', limit: 20 })
    order.push(n)
    const next = n < 10 ? step(n + 1) : undefined
    await Promise.resolve() // the request for the next goes down
    for (const end = performance.now() + 20; performance.now() < end; );
    await next
    await lease.release()
  }
  const done = step(1)
  setTimeout(() => order.push('timer'), 1)
  await done
  expect(order.indexOf('timer')).toBeLessThan(4)
  await limiter.close()
})

test('a wake that comes while answers are put off is not lost', async () => {
  const server = await startRedis()
  const limiter = new Limiter(server.url)
  // Each keeps the thread busy for so long that the answers to all of them don't go into one stay of the event loop.
  const pairs = async (until) => {
    while (performance.now() < until) {
      const lease = await limiter.acquire({ key: 'busy', limit: 200 })
      for (const end = performance.now() + 0.05; performance.now() < end; );
      await lease.release()
    }
  }
  try {
    for (const tasks of [200, 500, 1000]) {
      const until = performance.now() + 1000
      await Promise.all(Array.from({ length: tasks }, () => pairs(until)))
    }
  } finally {
    await limiter.close()
    await server.stop()
  }
})
