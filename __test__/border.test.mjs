// Several worker threads on one session: every completion reaches its thread, and the limit holds between them.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { startRedis } from './helpers.mjs'

const THREADS = 4

async function stress(url) {
  const shared = new SharedArrayBuffer(8)
  const workerData = { url, key: 'border', limit: 3, rounds: 40, tasks: 10, shared }
  const workers = Array.from(
    { length: THREADS },
    () => new Worker(new URL('./border.worker.mjs', import.meta.url), { workerData }),
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
