// One process of a crowd: so many tasks at once, each acquires, writes what it sees to this process's own file, works a
// little and releases, over and over until the process is told to finish. Started by startCrowd of load.mjs, which
// says what the settings are.
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'

const { file, options, config, tasks, work, aborts = 0 } = JSON.parse(process.argv[2])
const out = openSync(file, 'a')
const { limiter, end } = await open()
const result = { granted: 0, lost: [], aborted: 0, full: 0, errors: [] }
const over = new AbortController()
const finish = new Promise((resolve) => over.signal.addEventListener('abort', () => resolve(), { once: true }))

/** Over a client that is brought, if the options' `client` names a kind of them. */
async function open() {
  if (options.client !== undefined) return (await import('./clients.mjs')).open(options)
  const limiter = new Limiter(options)
  return { limiter, end: () => limiter.close() }
}

function note(what, { leaseId, slots, fencingToken }) {
  const at = String(process.hrtime.bigint())
  writeSync(out, `${JSON.stringify({ what, pid: process.pid, leaseId, slots, fencingToken, at })}\n`)
}

function worked() {
  if (work === 'until the finish') return finish
  const [least, most] = work
  return sleep(least + Math.random() * (most - least))
}

/** Inside until it leaves or is told that the lease is lost, whichever comes first. */
async function pass() {
  const signal = Math.random() < aborts ? AbortSignal.timeout(Math.ceil(Math.random() * 50)) : undefined
  const lease = await limiter.acquire({ ...config, signal })
  note('enter', lease)
  result.granted++
  const { signal: ends } = lease
  const lost = new Promise((resolve) => {
    if (ends.aborted) resolve(true)
    ends.addEventListener('abort', () => resolve(true), { once: true })
  })
  // A process that was stopped may find its work's timer due before the signal's: it looks before it says that it left.
  if ((await Promise.race([worked(), lost])) || lease.lost) {
    note('lost', lease)
    result.lost.push(lease.signal.reason.why)
  } else note('leave', lease)
  await lease.release()
}

async function task() {
  while (!over.signal.aborted) {
    await pass().catch(async (error) => {
      if (error.name === 'TimeoutError') result.aborted++
      else if (error.code === 'ERR_LIMIT_EXCEEDED') result.full++
      else result.errors.push({ code: error.code, message: error.message })
      await sleep(1)
    })
  }
}

process.once('message', () => over.abort())
process.once('disconnect', () => over.abort())
await Promise.all(Array.from({ length: tasks }, task))
result.reconnects = (await limiter.stats()).reconnects
await end()
await new Promise((resolve) => process.send(result, resolve))
process.disconnect()
