// Processes that are stopped for longer than their lease: whoever thaws knows what it lost before it does anything with
// it, and is told of nothing that has ended meanwhile.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { startProcess, until } from '../support/helpers.mjs'
import { judge, startCrowd } from '../support/load.mjs'

const server = useRedis()
const witness = useLimiter(server)

const now = () => Number(process.hrtime.bigint()) / 1e6
const waiting = (key, count) => until(async () => (await witness.status(key)).waiting === count, `${count} wait`)

/** Blocks the event loop of a process until it's stopped. */
async function block(process) {
  const ticks = () => Number(readFileSync(`/proc/${process.pid}/stat`, 'utf8').split(' ')[13])
  const before = ticks()
  process.call('block', 2000)
  await until(() => ticks() > before + 5, 'it is busy')
}

/** Who holds has renewed its lease. */
async function renewed(key) {
  let last = Infinity
  await until(async () => {
    const { endsIn } = (await witness.status(key)).holders[0]
    const longer = endsIn > last
    last = endsIn
    return longer
  }, 'it is renewed')
}

async function withProcess(body) {
  const process = startProcess({ url: server.url })
  try {
    await body(process)
  } finally {
    process.kill('SIGCONT')
    await process.stop()
  }
}

describe.concurrent('a process that was stopped for longer than its lease', () => {
  test('is told of its loss in its first turn, and what it asks for then comes at once', () =>
    withProcess(async (frozen) => {
      const config = { key: 'lost', limit: 1, limitExpire: 0.5 }
      const { leaseId } = await frozen.call('acquire', config)
      const seen = frozen.call('watchStop', leaseId, 400)
      await frozen.call('isLost', leaseId)
      frozen.kill('SIGSTOP')
      const next = await witness.acquire({ key: 'lost', limit: 1 })
      const asked = frozen.call('acquire', { key: 'another', limit: 1 })
      const lost = frozen.call('isLost', leaseId)
      const released = frozen.call('release', leaseId)
      frozen.kill('SIGCONT')
      const thawedAt = now()
      expect((await asked).at - thawedAt).toBeLessThan(500)
      expect(await lost).toBe(true)
      expect(await seen).toEqual({ aborted: true, code: 'ERR_LEASE_LOST' })
      expect((await released).released).toBe(false)
      expect(next.lost).toBe(false)
      expect(await next.release()).toBe(true)
    }))

  test.each(['its socket', 'its core'])('while a grant lay in %s: it gets it only when it is its own again', (place) =>
    withProcess(async (frozen) => {
      const config = { key: place, limit: 1, limitExpire: 0.6, limitTimeout: 20 }
      const first = await witness.acquire(config)
      const asked = frozen.call('acquire', config)
      await waiting(place, 1)
      if (place === 'its socket') frozen.kill('SIGSTOP')
      else await block(frozen)
      await first.release()
      if (place === 'its core') {
        await renewed(place)
        frozen.kill('SIGSTOP')
      }
      const second = await witness.acquire(config)
      frozen.kill('SIGCONT')
      // Longer than a look and a claim window: a grant that lay in its socket would have been told by now.
      await sleep(1500)
      expect(second.lost).toBe(false)
      const releasedAt = now()
      expect(await second.release()).toBe(true)
      const { at, fencingToken } = await asked
      expect(at).toBeGreaterThan(releasedAt)
      expect(fencingToken).toBeGreaterThan(second.fencingToken)
    }),
  )

  test('while it waits, and for longer than it may: is told that the limit was reached, not that Redis is gone', () =>
    withProcess(async (frozen) => {
      const held = await witness.acquire({ key: 'too late', limit: 1 })
      const asked = frozen.call('acquire', { key: 'too late', limit: 1, limitTimeout: 0.5 })
      asked.catch(() => {})
      await waiting('too late', 1)
      frozen.kill('SIGSTOP')
      await sleep(2000)
      frozen.kill('SIGCONT')
      await expect(asked).rejects.toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
      await held.release()
    }))

  test('at the edge of a claim window: never two of them', async () => {
    const config = { key: 'edge', limit: 2, limitExpire: 0.4, limitTimeout: 20 }
    const crowd = startCrowd({ options: { url: server.url }, config, tasks: 4, work: [1, 30] })
    try {
      const processes = [crowd.join(), crowd.join(), crowd.join()]
      await until(() => crowd.written() > 8_000, 'they are at work')
      for (let round = 0; round < 8; round++) {
        const chosen = processes[round % 3]
        chosen.freeze()
        await sleep(300 + 50 * round)
        chosen.thaw()
        await sleep(100)
      }
      for (const { errors, full } of await Promise.all(processes.map((process) => process.finish()))) {
        expect({ errors, full }).toEqual({ errors: [], full: 0 })
      }
      expect(judge(crowd.events(), 2)).toEqual({ wrong: [], most: 2, left: 0 })
      expect(await witness.status('edge')).toMatchObject({ held: 0, waiting: 0 })
    } finally {
      crowd.end()
    }
  })
})
