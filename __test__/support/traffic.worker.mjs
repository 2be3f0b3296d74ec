// A process that keeps a limit busy until it's told to stop, and then tells what it held and when. Moments are those of
// the machine's monotonic clock, in ms; an interval ends when the lease was given back or known to be lost.
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'

const { options, config, tasks } = JSON.parse(process.argv[2])
const limiter = new Limiter(options)
const intervals = []
const failures = {}
let running = true

const now = () => Number(process.hrtime.bigint()) / 1e6

async function work() {
  while (running) {
    try {
      const lease = await limiter.acquire(config)
      const begin = now()
      const lost = new Promise((resolve) => lease.signal.addEventListener('abort', () => resolve(now())))
      const end = await Promise.race([lost, sleep(5 + Math.random() * 20).then(now)])
      intervals.push([begin, end])
      process.send({ granted: intervals.length })
      await lease.release()
    } catch (error) {
      failures[error.code] = (failures[error.code] ?? 0) + 1
      await sleep(20)
    }
  }
}

const all = Promise.all(Array.from({ length: tasks }, work))
process.once('message', async () => {
  running = false
  await all
  await limiter.close()
  process.send({ intervals, failures }, () => process.disconnect())
})
