// What one worker of the demo does: its runners take a slot, work for a moment, give it back, and again.
//
// It says what it does as plain events and judges nothing. Started as a child process, it sends them to its parent;
// times are the machine's monotonic clock, which all processes of a machine share.
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'

/** The groups: how many may be inside, how long one stays (ms), how many runners a worker has for it. */
export const GROUPS = [
  { name: 'mail', limit: 3, stay: 70, runners: 3 },
  { name: 'thumbnails', limit: 5, stay: 110, runners: 4 },
  { name: 'ledger', limit: 1, stay: 40, runners: 2 },
]

const now = () => Number(process.hrtime.bigint() / 1000n) / 1000

async function runner(limiter, worker, number, group, run, until, report) {
  const tell = (what, slot) => report({ what, group: group.name, worker, number, slot, at: now() })
  for (let turn = 1; now() < until; turn++) {
    tell('asks')
    const lease = await limiter.acquire({
      key: `demo:${run}:${group.name}`,
      limit: group.limit,
      limitTimeout: 30,
    })
    // The moment inside is told to lie within the lease: taken after the grant and before the release.
    tell('enters', lease.slot)
    await sleep(group.stay * (0.6 + 0.2 * (turn % 5)))
    tell('leaves', lease.slot)
    await lease.release()
  }
}

/** Works for `seconds` as worker number `worker` of the run `run`. */
export async function work(limiter, worker, run, seconds, report) {
  const until = now() + seconds * 1000
  const runners = GROUPS.flatMap((group) =>
    Array.from({ length: group.runners }, (_, i) => runner(limiter, worker, i, group, run, until, report)),
  )
  await Promise.all(runners)
}

if (process.send) {
  const [worker, run, seconds] = process.argv.slice(2)
  const limiter = new Limiter(process.env.REDIS_URL)
  await work(limiter, Number(worker), run, Number(seconds), (event) => process.send(event))
  await limiter.close()
  process.disconnect()
}
