// Clocks that differ and clocks that step: Redis tells the time, so a client's clock changes nothing, and a step of the
// server's is survived as long as no lease is shorter than it. Needs libfaketime and a server that runs under it, which
// scripts/servers.mjs fetches; where they can't be had these tests are skipped, on CI only with CLOCK_TESTS=skip.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Limiter } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { faketime, valkey } from '../../scripts/servers.mjs'
import { startProcess, startRedis, until } from '../support/helpers.mjs'
import { judge, startCrowd } from '../support/load.mjs'

const library = await faketime()
const binary = await valkey()
const canRun = library !== null && binary !== null
const maySkip = !process.env.CI || process.env.CLOCK_TESTS === 'skip'
const LATE_MS = 500
const preload = { LD_PRELOAD: library, FAKETIME_DONT_FAKE_MONOTONIC: '1' }

/** A server whose wall clock is the machine's, or off by what `clock` was last told. */
async function startSteppable() {
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-clock-'))
  const file = join(folder, 'offset')
  const clock = (offset) => writeFileSync(file, offset)
  clock('+0s')
  const env = { ...preload, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' }
  const { url, stop } = await startRedis({ binary, env })
  const end = async () => {
    await stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return { url, clock, end }
}

async function finished(processes) {
  for (const { errors, full, lost } of await Promise.all(processes.map((process) => process.finish()))) {
    expect({ errors, full, lost }).toEqual({ errors: [], full: 0, lost: [] })
  }
}

const now = () => Number(process.hrtime.bigint()) / 1e6

describe.skipIf(maySkip && !canRun)('clocks', () => {
  test('can be set for these tests', () => {
    expect({ library, binary }).toEqual({ library: expect.any(String), binary: expect.any(String) })
  })

  test('a process whose clock is 30 s ahead is like any other', async () => {
    const server = await startRedis()
    const config = { key: 'clock', limit: 2, limitExpire: 1, limitTimeout: 20 }
    const crowd = startCrowd({ options: { url: server.url }, config, tasks: 4, work: [1, 30] })
    try {
      const env = { ...preload, FAKETIME: '+30s' }
      const processes = [crowd.join(), crowd.join({}, env), crowd.join({ work: [1500, 1500], tasks: 1 }, env)]
      const left = (pid) => crowd.events().some((event) => event.what === 'leave' && event.pid === pid)
      await until(() => processes.every(({ pid }) => left(pid)), 'all have had their turn')
      await finished(processes)
      expect(judge(crowd.events(), 2)).toEqual({ wrong: [], most: 2, left: 0 })
    } finally {
      crowd.end()
      await server.stop()
    }
  })

  test("the server's clock may step by a minute either way under load", async () => {
    const { url, clock, end } = await startSteppable()
    const witness = new Limiter(url)
    const config = { key: 'step', limit: 3, limitExpire: 300, limitTimeout: 60 }
    const crowd = startCrowd({ options: { url }, config, tasks: 10, work: [1, 20] })
    try {
      const processes = [crowd.join(), crowd.join()]
      const turns = () => crowd.events().filter(({ what }) => what === 'enter').length
      const stepsForward = []
      for (const [offset, isForward] of [['+0s'], ['+60s', true], ['+0s'], ['-60s'], ['+0s', true]]) {
        if (isForward) stepsForward.push(process.hrtime.bigint())
        clock(offset)
        const before = turns()
        await until(() => turns() > before + 100, `served with the clock at ${offset}`, 30_000)
      }
      await finished(processes)
      const { wrong, left } = judge(crowd.events(), 3)
      expect(left).toBe(0)
      // What has just been handed over counts 5 s until it's confirmed: a step forward ends it too. There were two.
      // (Tokens don't show the second: they go on from the highest.)
      const isAcrossStep = ({ by }) => stepsForward.some((step) => by?.at > step && by.at < step + 1_000_000_000n)
      expect(wrong.filter((one) => !isAcrossStep(one))).toEqual([])
      expect(wrong.length).toBeLessThanOrEqual(2 * 3 * 2)
      expect(await witness.status('step')).toMatchObject({ held: 0, waiting: 0 })
    } finally {
      crowd.end()
      await witness.close()
      await end()
    }
  })

  test('a step forward past the end of a lease: the slot may go on, and who held it hears so at its next renewal', async () => {
    const { url, clock, end } = await startSteppable()
    const [limiter, other] = ['one', 'two'].map((clientName) => new Limiter(url, { clientName }))
    try {
      const alone = await limiter.acquire({ key: 'alone', limit: 1, limitExpire: 1.5 })
      const lease = await limiter.acquire({ key: 'forward', limit: 1, limitExpire: 6 })
      const lost = new Promise((resolve) => lease.signal.addEventListener('abort', () => resolve(now())))
      const asked = other.acquire({ key: 'forward', limit: 1 })
      await until(async () => (await other.status('forward')).waiting === 1, 'it waits')
      clock('+60s')
      // Before the renewal: it would extend a lease that has ended but is still there.
      expect(await other.clean('forward')).toBe(1)
      const next = await asked
      const grantedAt = now()
      expect(next.fencingToken).toBeGreaterThan(lease.fencingToken)
      expect((await lost) - grantedAt).toBeLessThan(2000 + LATE_MS)
      expect(lease.signal.reason.code).toBe('ERR_LEASE_LOST')
      expect(await lease.release()).toBe(false)
      expect(next.lost).toBe(false)
      expect(await next.release()).toBe(true)
      // Nobody asked for its slot in the meantime.
      expect(await alone.release()).toBe(true)
    } finally {
      await Promise.all([limiter.close(), other.close()])
      await end()
    }
  })

  test('a step back: the slot of a killed holder comes back later by as much', async () => {
    const { url, clock, end } = await startSteppable()
    const limiter = new Limiter(url)
    const holder = startProcess({ url })
    try {
      const { fencingToken, at } = await holder.call('acquire', { key: 'back', limit: 1, limitExpire: 1 })
      holder.kill('SIGKILL')
      await holder.ended
      clock('-4s')
      const next = await limiter.acquire({ key: 'back', limit: 1 })
      const waited = now() - at
      expect(waited).toBeGreaterThan(1000 + 4000 - LATE_MS)
      expect(waited).toBeLessThan(1000 + 4000 + 2 * LATE_MS)
      expect(next.fencingToken).toBeGreaterThan(fencingToken)
      expect(await next.release()).toBe(true)
    } finally {
      await limiter.close()
      await end()
    }
  })
})
