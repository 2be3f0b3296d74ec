// A crowd of processes that use one key, and the observer who judges them by what they wrote themselves, each to its
// own file with the machine's clock: the limiter isn't asked.
//
// A holder is inside from when it has its lease until it leaves, is told that the lease is lost, or its process is
// killed. A process that is stopped does nothing: what it hears in its first moments afterwards counts from the stop.
import { fork } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const WORKER = fileURLToPath(new URL('./load.worker.mjs', import.meta.url))
const FIRST_MOMENTS = 200_000_000n

const now = () => process.hrtime.bigint()

/**
 * A crowd on one key. `settings`: `options` of the Limiter, `config` of each acquire, `tasks` per process, `work` as
 * [least, most] ms or 'until the finish', `aborts` as the share of requests that are aborted within 50 ms.
 */
export function startCrowd(settings) {
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-crowd-'))
  const kills = []
  const stops = []
  let last = 0

  /** One more process; `different` replaces single settings. */
  function join_(different = {}, env = {}) {
    const file = join(folder, `${++last}.jsonl`)
    const child = fork(WORKER, [JSON.stringify({ ...settings, ...different, file })], {
      env: { ...process.env, ...env },
    })
    const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)))
    const result = new Promise((resolve) => child.once('message', resolve))
    return {
      pid: child.pid,
      ended,
      /** kill -9, and it's gone. */
      async kill() {
        child.kill('SIGKILL')
        await ended
        kills.push({ what: 'killed', pid: child.pid, at: now() })
      },
      /** Stopped from now on, until `thaw`. */
      freeze() {
        stops.push({ pid: child.pid, from: now(), to: undefined })
        child.kill('SIGSTOP')
      },
      thaw() {
        child.kill('SIGCONT')
        stops.findLast(({ pid }) => pid === child.pid).to = now()
      },
      /** Ends it whatever it does, without a word to the observer. */
      end: () => child.kill('SIGKILL'),
      /** Lets every task end its round; what the process counted. */
      async finish() {
        child.send('finish')
        const counted = await Promise.race([result, ended])
        if (typeof counted !== 'object') throw new Error(`a process of the crowd ended with ${counted}`)
        await ended
        return counted
      },
    }
  }

  function events() {
    const written = readdirSync(folder)
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
      .map((line) => JSON.parse(line))
      .map((event) => ({ ...event, at: BigInt(event.at) }))
    const entered = new Map(written.filter(({ what }) => what === 'enter').map(({ leaseId, at }) => [leaseId, at]))
    for (const event of written) if (event.what === 'lost') event.at = whenLost(event, entered.get(event.leaseId))
    return [...written, ...kills].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
  }

  /** How many bytes they have written so far. */
  const written = () => readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)

  function whenLost({ pid, at }, enteredAt) {
    const stop = stops.find((stop) => stop.pid === pid && stop.from <= at && at <= stop.to + FIRST_MOMENTS)
    if (stop === undefined) return at
    return stop.from > enteredAt ? stop.from : enteredAt + 1n
  }

  return { join: join_, events, written, end: () => rmSync(folder, { recursive: true, force: true }) }
}

/**
 * What was wrong: more inside than the limit, a slot taken twice or out of range, a token that isn't above the last one
 * of its slot. And the most that were inside, and who still is.
 */
export function judge(events, limit) {
  const inside = new Map()
  const lastToken = new Map()
  const wrong = []
  let most = 0
  for (const event of events) {
    if (event.what === 'killed') {
      for (const [slot, holder] of inside) if (holder.pid === event.pid) inside.delete(slot)
      continue
    }
    for (const slot of event.slots) {
      if (event.what !== 'enter') {
        if (inside.get(slot)?.leaseId === event.leaseId) inside.delete(slot)
        continue
      }
      if (inside.has(slot)) wrong.push({ slot, by: event, beside: inside.get(slot) })
      if (slot < 1 || slot > limit) wrong.push({ slot, outOf: limit })
      if (event.fencingToken <= (lastToken.get(slot) ?? 0)) wrong.push({ slot, by: event, after: lastToken.get(slot) })
      lastToken.set(slot, event.fencingToken)
      inside.set(slot, event)
    }
    most = Math.max(most, inside.size)
  }
  return { wrong, most, left: inside.size }
}
