// A thread that acquires and releases as fast as it can, so many at a time, and counts in shared memory who is inside.
import { parentPort, workerData } from 'node:worker_threads'
import { Limiter } from 'concurrency-limit'

const { url, key, limit, rounds, tasks, shared } = workerData
const [INSIDE, MOST] = [0, 1]
const counts = new Int32Array(shared)
const limiter = new Limiter(url)

async function task() {
  for (let round = 0; round < rounds; round++) {
    const lease = await limiter.acquire({ key, limit, limitTimeout: 30 })
    const inside = Atomics.add(counts, INSIDE, 1) + 1
    if (inside > Atomics.load(counts, MOST)) Atomics.store(counts, MOST, inside)
    if (round % 3 === 0) await new Promise(setImmediate)
    Atomics.sub(counts, INSIDE, 1)
    await lease.release()
  }
  return rounds
}

const done = await Promise.all(Array.from({ length: tasks }, task))
await limiter.close()
parentPort.postMessage(done.reduce((sum, rounds) => sum + rounds, 0))
