// One process of the main job: so many tasks at once, each acquires, writes what it saw to this process's own file,
// works a little and releases. Usage: node main-job.worker.mjs <url> <key> <limit> <tasks> <file>
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'

const [url, key, limit, tasks, file] = process.argv.slice(2)
const out = openSync(file, 'w')
const limiter = new Limiter(url)

function note(what, { slot, fencingToken }) {
  writeSync(out, `${JSON.stringify({ what, slot, fencingToken, at: String(process.hrtime.bigint()) })}\n`)
}

async function task() {
  const lease = await limiter.acquire({ key, limit: Number(limit), limitTimeout: 25 })
  note('enter', lease)
  await sleep(1 + Math.random() * 9)
  note('leave', lease)
  await lease.release()
}

await Promise.all(Array.from({ length: Number(tasks) }, task))
