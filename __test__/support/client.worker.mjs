// A worker thread with a client of its own: tells its slot, and gives it back or waits to be terminated.
import { parentPort, workerData } from 'node:worker_threads'
import { open } from './clients.mjs'

const { kind, port, terms, stays } = workerData
const { limiter, end } = await open({ client: kind, port })
const lease = await limiter.acquire(terms)
parentPort.postMessage(lease.slot)
if (stays) await limiter.acquire(terms)
await end()
