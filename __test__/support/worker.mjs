// The other process of a test: one Limiter, and operations that startProcess in helpers.mjs calls by name. Moments are
// those of the machine's monotonic clock, in ms, so that they compare between processes.
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'

const limiter = new Limiter(JSON.parse(process.argv[2]))
const leases = new Map()
const lost = []
limiter.on('lost', ({ key, slot, why }) => lost.push({ key, slot, why }))

const now = () => Number(process.hrtime.bigint()) / 1e6

const operations = {
  async acquire(config) {
    const lease = await limiter.acquire(config)
    const at = now()
    leases.set(lease.leaseId, lease)
    const { leaseId, slot, slots, fencingToken, waited } = lease
    return { leaseId, slot, slots, fencingToken, waited, at }
  },
  async tryAcquire(config) {
    const lease = await limiter.tryAcquire(config)
    if (lease !== null) leases.set(lease.leaseId, lease)
    return lease?.leaseId ?? null
  },
  /** Acquires and gives back at once. */
  async pass(config) {
    const { leaseId, fencingToken } = await operations.acquire(config)
    await operations.release(leaseId)
    return fencingToken
  },
  async release(leaseId) {
    const at = now()
    return { released: await leases.get(leaseId).release(), at }
  },
  /** Asks many times at once and gives nothing back: none of them is granted while the caller holds. */
  async wait(config, times) {
    for (let i = 0; i < times; i++) limiter.acquire(config).catch(() => {})
  },
  /** Blocks this thread. */
  async block(ms) {
    const end = now() + ms
    while (now() < end);
  },
  async isLost(leaseId) {
    return leases.get(leaseId).lost
  },
  /** Notices that the process was stopped, and tells what a signal said one turn of the loop later. */
  async watchStop(leaseId, gapMs) {
    const { signal } = leases.get(leaseId)
    for (let before = now(); ; before = now()) {
      await sleep(1)
      if (now() - before < gapMs) continue
      const aborted = await new Promise((resolve) => setImmediate(() => resolve(signal.aborted)))
      return { aborted, code: signal.reason?.code }
    }
  },
  async lostEvents() {
    return lost
  },
}

process.on('message', ({ id, op, args }) => {
  operations[op](...args).then(
    (value) => process.send?.({ id, value }),
    ({ name, code, message }) => process.send?.({ id, error: { name, code, message } }),
  )
})
