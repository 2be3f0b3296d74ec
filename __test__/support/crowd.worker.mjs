// Many tasks of one process that take turns for a key, without a pause: it passes slots among them.
//
// Says on demand how many turns there were, how many slots were passed, how long somebody waited at most, how many are
// inside, and who was when, by the clock that all processes of the machine share. Told a number, it holds for so many
// milliseconds from then on.
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'

const { url, config, tasks, ...told } = JSON.parse(process.argv[2])
let { holdMs } = told
const limiter = new Limiter(url)
limiter.on('error', () => {})
const turns = Array.from({ length: tasks }, () => 0)
const inside = []
let stopped = false
let holding = 0
let longestWait = 0

const now = () => Number(process.hrtime.bigint()) / 1e6

async function take(task) {
  while (!stopped) {
    try {
      const asked = now()
      const lease = await limiter.acquire(config)
      const from = now()
      longestWait = Math.max(longestWait, from - asked)
      holding++
      if (holdMs > 0) await sleep(holdMs)
      holding--
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
  if (typeof message === 'number') holdMs = message
  const { passed, calls } = stopped ? {} : await limiter.stats()
  process.send({ turns, passed, calls, holding, longestWait, inside: inside.splice(0) })
  if (message === 'stop') process.disconnect()
})
process.send('ready')
