// A worker thread that is ended in the middle of many acquires, some granted, most in line.
import { parentPort, workerData } from 'node:worker_threads'
import { Limiter } from 'concurrency-limit'

const { url, key, how } = workerData
const limiter = new Limiter(url)
for (let i = 0; i < 50; i++) limiter.acquire({ key, limit: 5, limitExpire: 30 }).catch(() => {})
const poll = async () => {
  const { waiting } = await limiter.status(key)
  if (waiting === 0) return setImmediate(poll)
  parentPort.postMessage('in line')
  if (how === 'exits') process.exit(0)
  if (how === 'throws') throw new Error('mine')
}
poll()
