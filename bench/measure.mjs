// Small things that several workloads measure with: quantiles, CPU of this process's threads, Redis's own figures, and
// the watch over the limit. No system and no workload is known here.
import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'

export const now = () => Number(process.hrtime.bigint()) / 1e6 // ms; the same clock in all processes of a machine

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** The value below which the share `p` of `values` lies. */
export function quantile(values, p) {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]
}

export const median = (values) => quantile(values, 0.5)

const sum = (values) => values.reduce((a, b) => a + b, 0)

/** CPU milliseconds of this process's threads for which `which` is true; 0 where /proc doesn't tell. */
function threadCpu(which) {
  const tasks = '/proc/self/task'
  const read = (thread, file) => readFileSync(`${tasks}/${thread}/${file}`, 'utf8').trim()
  try {
    const threads = readdirSync(tasks).filter((thread) => which(Number(thread), read(thread, 'comm')))
    return sum(threads.map((thread) => Number(read(thread, 'schedstat').split(' ')[0]))) / 1e6
  } catch {
    return 0
  }
}

/** CPU milliseconds of the JavaScript thread. */
export const mainThreadCpu = () => threadCpu((thread) => thread === process.pid)

/** CPU milliseconds of the limiter's core, whose thread Linux shows by the first 15 letters of its name. */
export const coreThreadCpu = () => threadCpu((_, name) => name === 'concurrency-limit'.slice(0, 15))

/** One inline command to Redis; its answer when it is one line or a bulk string. */
export function ask(url, command) {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), hostname, () => socket.write(`${command}\r\n`))
    socket.setEncoding('utf8').on('data', (data) => {
      text += data
      const length = Number(/^\$(\d+)\r\n/.exec(text)?.[1] ?? 0)
      if (text.length < length || !text.endsWith('\r\n')) return
      socket.destroy()
      resolve(text)
    })
    socket.once('error', reject)
  })
}

/** What Redis has done so far: calls and µs of each command, µs of CPU. */
export async function redisFigures(url) {
  if (!url.startsWith('redis:')) return { commands: {}, cpuUs: 0 }
  const [stats, cpu] = await Promise.all([ask(url, 'INFO commandstats'), ask(url, 'INFO cpu')])
  const lines = [...stats.matchAll(/cmdstat_([^:]+):calls=(\d+),usec=(\d+)/g)]
  const commands = Object.fromEntries(lines.map(([, name, calls, usec]) => [name, { calls: +calls, usec: +usec }]))
  const seconds = [...cpu.matchAll(/used_cpu_(?:sys|user):([\d.]+)/g)].map(([, seconds]) => Number(seconds))
  return { commands, cpuUs: sum(seconds) * 1e6 }
}

const NONE = { calls: 0, usec: 0 }
const SCRIPTS = ['eval', 'evalsha', 'fcall']

/**
 * Calls and µs that Redis spent on commands between two `redisFigures`. What scripts run is counted by Redis both there
 * and in its own line: so a command that isn't a script counts as often as `sent` says that a client sent it.
 */
export function redisTime(before, after, sent = {}) {
  const between = (name) => {
    const [from, to] = [before.commands[name] ?? NONE, after.commands[name] ?? NONE]
    return { calls: to.calls - from.calls, usec: to.usec - from.usec }
  }
  const scripts = SCRIPTS.map(between)
  const direct = Object.entries(sent)
    .filter(([name]) => !SCRIPTS.includes(name))
    .map(([name, calls]) => ({ calls, usec: (between(name).usec / (between(name).calls || 1)) * calls }))
  const all = [...scripts, ...direct]
  return { calls: sum(all.map(({ calls }) => calls)), usec: sum(all.map(({ usec }) => usec)) }
}

/** What must not happen happened: the figures are worth nothing, and the run fails. */
export class Violation extends Error {
  name = 'Violation'
}

/** Watches, in one process, that a group is never over its limit. */
export class Watch {
  inside = 0
  constructor(limit) {
    this.limit = limit
  }
  enter() {
    if (++this.inside > this.limit) throw new Violation(`${this.inside} inside at limit ${this.limit}`)
  }
  leave() {
    this.inside--
  }
}

/** The same for stays `[came, went]` that several processes wrote down. */
export function neverOver(limit, stays) {
  const steps = stays.flatMap(([came, went]) => [
    [came, 1],
    [went, -1],
  ])
  steps.sort((a, b) => a[0] - b[0] || a[1] - b[1])
  const watch = new Watch(limit)
  for (const [, step] of steps) step > 0 ? watch.enter() : watch.leave()
}

/** No task may go without: in a limiter with a line, each of them gets its turns. */
export function everybodyServed(turns, what) {
  const without = turns.filter((many) => many === 0).length
  if (without > 0) throw new Violation(`${without} of ${turns.length} ${what} got no turn`)
}
