// Many tasks of one process that take turns for a key, without a pause: it passes slots among them.
//
// Says on demand how many turns there were, how many slots were passed, and who was inside when, by the clock that all
// processes of the machine share.
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'

const { url, config, tasks, holdMs } = JSON.parse(process.argv[2])
const limiter = new Limiter(url)
limiter.on('error', () => {})
const turns = Array.from({ length: tasks }, () => 0)
const inside = []
let stopped = false

const now = () => Number(process.hrtime.bigint()) / 1e6

async function take(task) {
  while (!stopped) {
    try {
      const lease = await limiter.acquire(config)
      const from = now()
      if (holdMs > 0) await sleep(holdMs)
      // Whoever has lost it isn't inside any more.
      inside.push({ slot: lease.slot, token: lease.fencingToken, from, to: lease.lost ? from : now() })
      turns[task]++
      await lease.release()
    } catch {
      await sleep(10)
    }
  }
}

const all = turns.map((_, task) => take(task))
process.on('message', async (message) => {
  if (message === 'stop') {
    stopped = true
    await Promise.all(all)
    await limiter.close()
  }
  if (message === 'exit') process.exit(0)
  const { passed, calls } = stopped ? {} : await limiter.stats()
  process.send({ turns, passed, calls, inside: inside.splice(0) })
  if (message === 'stop') process.disconnect()
})
process.send('ready')
