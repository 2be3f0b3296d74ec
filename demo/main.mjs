// The main job, to look at: four workers want more than three groups allow, and an observer counts who is inside.
//
// On the embedded store the workers share this process; with REDIS_URL each is a process of its own on that Redis.
// Ends with a summary, and with exit code 1 if more were ever inside than allowed.
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Limiter } from 'concurrency-limit'
import { Observer } from './observer.mjs'
import { draw, summary } from './picture.mjs'
import { GROUPS, work } from './work.mjs'

const WORKERS = [1, 2, 3, 4]
const SECONDS = 6

function inThisProcess(run, report) {
  const limiter = new Limiter('memory:')
  const all = WORKERS.map((worker) => work(limiter, worker, run, SECONDS, report))
  return Promise.all(all).finally(() => limiter.close())
}

function inFourProcesses(run, report) {
  const one = (worker) =>
    new Promise((resolve, reject) => {
      const child = fork(new URL('./work.mjs', import.meta.url), [worker, run, SECONDS].map(String))
      child.on('message', report)
      child.once('error', reject)
      child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`worker ${worker} ended with ${code}`))))
    })
  return Promise.all(WORKERS.map(one))
}

const onRedis = Boolean(process.env.REDIS_URL)
const place = onRedis
  ? 'four processes on the Redis of REDIS_URL'
  : 'the embedded store of this process (set REDIS_URL for four processes on Redis)'
console.log(`Four workers, three groups, ${SECONDS} seconds, on ${place}.\n`)

const observer = new Observer(GROUPS)
const stop = draw(observer)
const run = randomBytes(4).toString('hex')
try {
  await (onRedis ? inFourProcesses : inThisProcess)(run, (event) => observer.see(event))
} finally {
  stop()
}

const verdicts = GROUPS.map((group) => observer.verdict(group))
const held = verdicts.every((verdict) => verdict.held && verdict.served > 0)
console.log(`\n${summary(verdicts)}\n`)
console.log(held ? 'The limits held: never more inside than allowed, no slot twice at once.' : 'A LIMIT DID NOT HOLD.')
process.exitCode = held ? 0 : 1
