// Small things that several workloads measure with.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

export const now = () => Number(process.hrtime.bigint()) / 1e6 // ms

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** The value below which the share `p` of `values` lies. */
export function quantile(values, p) {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]
}

export const median = (values) => quantile(values, 0.5)

/** CPU milliseconds of this process's JavaScript thread; 0 where /proc doesn't tell. */
export function mainThreadCpu() {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
  } catch {
    return 0
  }
}

/** One inline command to Redis; its whole answer when it is a bulk string. */
export function ask(url, command) {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), hostname, () => socket.write(`${command}\r\n`))
    socket.setEncoding('utf8').on('data', (data) => {
      text += data
      const length = Number(/^\$(\d+)\r\n/.exec(text)?.[1] ?? 0)
      if (text.length < length) return
      socket.destroy()
      resolve(text)
    })
    socket.once('error', reject)
  })
}

/** Microseconds of Redis time spent in scripts so far. */
export async function scriptTime(url) {
  if (!url.startsWith('redis:')) return 0
  const stats = await ask(url, 'INFO commandstats')
  const times = [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=\d+,usec=(\d+)/g)]
  return times.reduce((sum, [, usec]) => sum + Number(usec), 0)
}

/** Watches that a group is never over its limit and no turn is lost. */
export class Watch {
  inside = 0
  most = 0
  constructor(limit) {
    this.limit = limit
  }
  enter() {
    this.most = Math.max(this.most, ++this.inside)
    if (this.inside > this.limit) throw new Error(`${this.inside} inside at limit ${this.limit}`)
  }
  leave() {
    this.inside--
  }
}
