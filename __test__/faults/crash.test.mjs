// Processes that are killed, blocked or silent: what they held comes back in time, and nobody else is delayed.
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, startProcess, until } from '../support/helpers.mjs'

const LEASE_MS = 2000

const server = useRedis()
const witness = useLimiter(server)

const now = () => Number(process.hrtime.bigint()) / 1e6
const waiting = (key, count) => until(async () => (await witness.status(key)).waiting === count, `${count} wait`)

/** kill -9 of the process at the head of a line; resolves when Redis has seen that its connection has ended. */
async function killSeen(head, key) {
  const [{ leaseId }] = (await witness.status(key)).waiters
  const channel = `cl:push:${leaseId.split('-')[0]}`
  const listeners = async () => (await redis(server.port, 'PUBSUB', 'NUMSUB', channel))[1]
  expect(await listeners()).toBe(1)
  head.kill('SIGKILL')
  await until(async () => (await listeners()) === 0, 'Redis has seen its end')
}

/** Every command that Redis carries out from now on, a line each, begun with the moment by Redis's clock. */
async function watchCommands() {
  const lines = []
  let rest = ''
  const socket = connect(server.port, '127.0.0.1', () => socket.write('MONITOR\r\n'))
  socket.setEncoding('utf8').on('data', (data) => {
    const whole = (rest + data).split('\r\n')
    rest = whole.pop()
    lines.push(...whole)
  })
  await until(() => lines[0] === '+OK', 'it is watched')
  return { find: (isIt) => until(() => lines.find(isIt), 'the command'), end: () => socket.destroy() }
}

const microseconds = (line) => Number(/^\+(\d+)\.(\d{6}) /.exec(line).slice(1).join(''))

async function withProcesses(count, body) {
  const processes = Array.from({ length: count }, () => startProcess({ url: server.url }))
  try {
    await body(...processes)
  } finally {
    await Promise.all(processes.map((process) => process.stop()))
  }
}

describe.concurrent('a process that is killed', () => {
  test('while it holds: a waiter has its slot when the lease is over', () =>
    withProcesses(2, async (holder, waiter) => {
      const config = { key: 'holder', limit: 1, limitExpire: LEASE_MS / 1000 }
      const held = await holder.call('acquire', config)
      const next = waiter.call('acquire', config)
      await waiting('holder', 1)
      holder.kill('SIGKILL')
      await holder.ended
      const killedAt = now()
      const { slot, fencingToken, at } = await next
      expect(slot).toBe(held.slot)
      expect(fencingToken).toBeGreaterThan(held.fencingToken)
      expect(at - killedAt).toBeLessThan(LEASE_MS + 250)
    }))

  test('at the head of the line: the next one has the slot as soon as it is released', async () => {
    const commands = await watchCommands()
    for (let round = 0; round < 5; round++) {
      await withProcesses(3, async (holder, head, next) => {
        const config = { key: `head ${round}`, limit: 1 }
        const { leaseId } = await holder.call('acquire', config)
        head.call('acquire', config)
        await waiting(config.key, 1)
        const granted = next.call('acquire', config)
        await waiting(config.key, 2)
        await killSeen(head, config.key)
        const { at: releasedAt } = await holder.call('release', leaseId)
        const { fencingToken, at } = await granted
        // By Redis's own clock, which a token is, whatever the machine does to the processes in between.
        const release = await commands.find((line) => line.endsWith(`"release" "1" "l${leaseId}"`))
        expect(fencingToken - microseconds(release)).toBeLessThan(50_000)
        // Nor did it wait for a safety look or a keep-alive.
        expect(at - releasedAt).toBeLessThan(500)
      })
    }
    commands.end()
  })

  test('with ten slots and two hundred waiters: all comes back', () =>
    withProcesses(2, async (crowded, other) => {
      const config = { key: 'crowded', limit: 10, limitExpire: LEASE_MS / 1000, limitTimeout: 20 }
      await Promise.all(Array.from({ length: 10 }, () => crowded.call('acquire', config)))
      await crowded.call('wait', config, 200)
      await waiting('crowded', 200)
      const granted = Promise.all(Array.from({ length: 10 }, () => other.call('acquire', config)))
      await waiting('crowded', 210)
      crowded.kill('SIGKILL')
      await crowded.ended
      const killedAt = now()
      const leases = await granted
      expect(new Set(leases.map(({ slot }) => slot)).size).toBe(10)
      for (const { at } of leases) expect(at - killedAt).toBeLessThan(LEASE_MS + 250)
      await waiting('crowded', 0)
      for (const { leaseId } of leases) await other.call('release', leaseId)
      expect(await witness.status('crowded')).toMatchObject({ held: 0, waiting: 0 })
    }))
})

describe.concurrent('a holder that is heard of no more than its lease asks for', () => {
  test('blocked for three times its lease, keeps it, and nobody else is delayed', () =>
    withProcesses(3, async (blocked, busy, third) => {
      const config = { key: 'blocked', limit: 3, limitExpire: 0.6 }
      const held = [await blocked.call('acquire', config), await blocked.call('acquire', config)]
      const end = now() + 1800
      const block = blocked.call('block', 1800)
      const times = []
      while (now() < end) {
        const start = now()
        const { leaseId, slot } = await busy.call('acquire', config)
        times.push(now() - start)
        expect(slot).toBe(3)
        expect(await third.call('tryAcquire', config)).toBe(null)
        await busy.call('release', leaseId)
      }
      times.sort((a, b) => a - b)
      expect(times.length).toBeGreaterThan(20)
      expect(times[Math.floor(times.length * 0.9)]).toBeLessThan(50)
      await block
      for (const { leaseId } of held) {
        expect(await blocked.call('isLost', leaseId)).toBe(false)
        expect((await blocked.call('release', leaseId)).released).toBe(true)
      }
    }))

  test('silent for five times its lease, with no other traffic, is still the only one', () =>
    withProcesses(2, async (holder, other) => {
      const config = { key: 'silent', limit: 1, limitExpire: 0.4 }
      const { leaseId, at } = await holder.call('acquire', config)
      await until(() => now() - at > 2000, 'five leases have passed')
      expect(await other.call('tryAcquire', config)).toBe(null)
      expect((await holder.call('release', leaseId)).released).toBe(true)
    }))
})
