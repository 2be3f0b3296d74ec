// A worker thread that acquires, tells its slot, and then ends by itself, exits, or waits to be terminated.
import { parentPort, workerData } from 'node:worker_threads'
import { Limiter } from 'concurrency-limit'

const lease = await new Limiter(process.env.SERVER).acquire({ key: 'threads', limit: 3 })
parentPort.postMessage(lease.slot)
if (workerData === 'exits') process.exit(0)
if (workerData === 'is terminated') await new Promise((resolve) => setTimeout(resolve, 60_000))
