// What the workers of a day wrote, as requests and leases. What counts as inside: from the moment at which a worker had
// its lease until the last moment at which it looked and `lost` was false. So a lease that is lost while its process is
// stopped or busy is never taken for held.
import { existsSync, readFileSync } from 'node:fs'

// A lease that was dropped is known by its signal alone, which comes in a turn of the loop.
const SIGNAL_MS = 250

class Life {
  requests = new Map()
  leases = new Map()
  gaps = []
  lates = []
  warnings = []
  lines = []

  constructor(name, life, tasks) {
    Object.assign(this, { name, startedAt: life.startedAt, killedAt: life.killedAt, tasks })
  }

  read(file) {
    if (!existsSync(file)) return // killed before it had begun
    for (const text of readFileSync(file, 'utf8').split('\n').slice(0, -1)) {
      const [what, at, ...rest] = JSON.parse(text)
      this.lines.push({ what, at, rest, name: this.name })
      this[what]?.(at, ...rest)
    }
  }

  asked(at, n, task, limitTimeout) {
    this.requests.set(n, { life: this, n, at, task: this.tasks[task], limitTimeout, settledAt: undefined })
  }

  aborting(at, n) {
    this.requests.get(n).abortedAt ??= at
  }

  settled(at, n, outcome, message) {
    Object.assign(this.requests.get(n), { settledAt: at, outcome, message })
  }

  granted(at, n, lease) {
    const { task } = this.requests.get(n)
    const isSoft = task.forgets && !lease.standIn
    this.leases.set(n, { ...lease, life: this, n, task, key: task.config.key, from: at, good: at, isSoft })
  }

  good(at, numbers) {
    for (const n of numbers) this.#believe(at, n)
  }

  out(at, n, isGood) {
    if (isGood) this.#believe(at, n)
    const lease = this.leases.get(n)
    Object.assign(lease, { outAt: at, wasLost: !isGood })
  }

  #believe(at, n) {
    const lease = this.leases.get(n)
    if (!lease.isSoft) lease.good = at
    else if (!this.gaps.some(({ to }) => at - to < SIGNAL_MS)) lease.good = Math.max(lease.from, at - SIGNAL_MS)
  }

  released(at, n) {
    this.leases.get(n).releasedAt = at
  }

  gap(at, ms) {
    this.gaps.push({ from: at - ms, to: at })
  }

  late(at, n, ms) {
    this.lates.push({ at, n, ms })
  }

  warning(at, text) {
    this.warnings.push({ at, text })
  }

  /** How much of this span the process didn't turn in, because it was stopped or the machine was busy. */
  pausedIn(from, to) {
    return this.gaps.reduce((sum, gap) => sum + Math.max(0, Math.min(to, gap.to) - Math.max(from, gap.from)), 0)
  }
}

/** `{ lives, requests, leases, lines }` of all workers. */
export function readRecord(world) {
  const lives = [...world.workers.values()].flatMap((worker) =>
    worker.lives.map((each) => {
      const life = new Life(worker.name, each, world.day.tasks)
      life.read(each.file)
      return life
    }),
  )
  const leases = lives.flatMap((life) => [...life.leases.values()].filter(({ isGood }) => isGood))
  return {
    lives,
    requests: lives.flatMap((life) => [...life.requests.values()]),
    leases: leases.sort((one, other) => one.from - other.from),
    lines: lives.flatMap((life) => life.lines).sort((one, other) => one.at - other.at),
  }
}
