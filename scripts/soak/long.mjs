// `npm run soak -- [minutes]`: four processes under random load while connections are killed, processes and Redis are
// stopped and killed, and what can vanish vanishes. Ten minutes unless said. Ends with an audit by what the holders
// themselves wrote: nothing exceeded, nothing left behind, no error that waiting could have spared, memory flat.
// soak.mjs starts it.
//
// One fault at a time, and the next when work goes on: what several at once may cost is in docs/operations.md.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { forgetLibrary, redis, startRedis, until } from '../../__test__/support/helpers.mjs'
import { judge, startCrowd } from '../../__test__/support/load.mjs'
import { Limiter } from '../../index.js'

const KEY = 'soak'
const LIMIT = 6
const LEASE_S = 3
const GROWTH_MB = 24

const minutes = Number(process.argv[2] ?? 10)
if (!(minutes > 0)) throw new Error(`minutes: expected a number above 0, but got ${process.argv[2]}`)

const begun = performance.now()
const share = () => (performance.now() - begun) / (minutes * 60_000)
const pick = (list) => list[Math.floor(Math.random() * list.length)]
const between = (least, most) => least + Math.random() * (most - least)

let server = await startRedis()
const config = { key: KEY, limit: LIMIT, limitExpire: LEASE_S, limitTimeout: 60 }
const crowd = startCrowd({ options: { url: server.url }, config, tasks: 10, work: [0, 150], aborts: 0.2 })
const kinds = [
  {},
  { work: [0, 5], aborts: 0.5 },
  { config: { ...config, weight: 2 }, tasks: 4 },
  { config: { ...config, limitHold: 4, priority: 1 }, tasks: 3, work: [0, 1500] },
]
const processes = kinds.map((kind) => crowd.join(kind))
const results = []
const counts = {}

const faults = {
  'connections killed': () => redis(server.port, 'CLIENT', 'KILL', 'TYPE', pick(['normal', 'pubsub'])),
  'library flushed': () => forgetLibrary(server.port),
  'a sorted set deleted': () => redis(server.port, 'DEL', `cl:{${KEY}}:${pick(['ends', 'gaps', 'queue'])}`),
  'Redis stopped': async () => {
    process.kill(server.pid, 'SIGSTOP')
    await sleep(between(100, 2000 * LEASE_S))
    process.kill(server.pid, 'SIGCONT')
  },
  'Redis restarted empty': async () => {
    const { port } = server
    await server.stop()
    server = await startRedis({ port, age: 0 })
  },
  'a process stopped': async () => {
    const stopped = pick(processes)
    stopped.freeze()
    await sleep(between(100, 2000 * LEASE_S))
    stopped.thaw()
  },
  // Not the first one, whose memory is watched.
  'a process killed': async () => {
    const i = 1 + Math.floor(Math.random() * (processes.length - 1))
    await processes[i].kill()
    processes[i] = crowd.join(kinds[i])
  },
}

/** What a process has in memory, in MB. */
function megabytes(pid) {
  const [, pages] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')
  return (pages * 4096) / 2 ** 20
}

async function torment() {
  let early
  while (share() < 1) {
    const name = pick(Object.keys(faults))
    await faults[name]()
    counts[name] = (counts[name] ?? 0) + 1
    const before = crowd.written()
    await until(() => crowd.written() > before + 20_000, `work goes on after: ${name}`, 30_000)
    await sleep(between(0, 1000))
    if (share() > 0.25) early ??= megabytes(processes[0].pid)
  }
  return { early: early ?? megabytes(processes[0].pid), late: megabytes(processes[0].pid) }
}

async function audit(memory) {
  const wrong = []
  for (const process of processes) results.push(await process.finish())
  const errors = results.flatMap((result) => result.errors)
  if (errors.length > 0) wrong.push(`${errors.length} errors, the first: ${JSON.stringify(errors[0])}`)
  if (results.some(({ full }) => full > 0)) wrong.push('requests waited for a minute')
  const events = crowd.events()
  const verdict = judge(events, LIMIT)
  for (const { slot, by, beside } of verdict.wrong.slice(0, 10)) {
    wrong.push(`slot ${slot}: ${by?.leaseId} beside ${beside?.leaseId} at ${by?.at}`)
  }
  if (verdict.left > 0) wrong.push(`${verdict.left} slots are still held`)
  if (memory.late - memory.early > GROWTH_MB) wrong.push('memory has grown')
  const limiter = new Limiter(server.url)
  const empty = async () => {
    const { held, waiting } = await limiter.status(KEY)
    return held === 0 && waiting === 0
  }
  await until(empty, 'nothing is held, nobody waits', 20_000).catch(({ message }) => wrong.push(message))
  await limiter.close()
  for (const key of await redis(server.port, 'KEYS', '*')) {
    if ((await redis(server.port, 'PTTL', key)) < 0) wrong.push(`${key} never expires`)
  }
  const granted = events.filter(({ what }) => what === 'enter').length
  const lost = events.filter(({ what }) => what === 'lost').length
  const { early, late } = memory
  console.log(`${minutes} min, ${granted} leases, at most ${verdict.most} of ${LIMIT} slots held, ${lost} leases lost`)
  console.log(`memory of the first process: ${early.toFixed(1)} MB early, ${late.toFixed(1)} MB late`)
  for (const [name, count] of Object.entries(counts)) console.log(`  ${String(count).padStart(5)}  ${name}`)
  return wrong
}

try {
  const wrong = await audit(await torment())
  for (const what of wrong) console.error(`WRONG: ${what}`)
  console.log(wrong.length === 0 ? 'the audit found nothing' : `the audit found ${wrong.length} faults`)
  process.exitCode = wrong.length === 0 ? 0 : 1
} finally {
  for (const { end } of processes) end()
  await server.stop()
  crowd.end()
}
