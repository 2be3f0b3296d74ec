// The main job: four processes with fifty tasks each share a limit of ten. Judged by what the holders themselves wrote,
// each process to its own file with the machine's clock; the limiter isn't asked until the end.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redis, runNode, startRedis, until } from '../support/helpers.mjs'

const PROCESSES = 4
const TASKS = 50
const LIMIT = 10
const KEY = 'main job'

let server
let folder
let events
beforeAll(async () => {
  server = await startRedis()
  folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-job-'))
  const files = Array.from({ length: PROCESSES }, (_, i) => join(folder, `${i}.jsonl`))
  const runs = files.map((file) =>
    runNode(['__test__/support/main-job.worker.mjs', server.url, KEY, String(LIMIT), String(TASKS), file], {
      bound: 25_000,
    }),
  )
  for (const { code, output } of await Promise.all(runs)) expect({ code, output }).toEqual({ code: 0, output: '' })
  events = files
    .flatMap((file) => readFileSync(file, 'utf8').trim().split('\n').map(JSON.parse))
    .map((event) => ({ ...event, at: BigInt(event.at) }))
    .sort((a, b) => (a.at < b.at ? -1 : 1))
})
afterAll(() => server?.stop())
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
})

describe('four processes of fifty tasks at a limit of ten', () => {
  test('every task is served', () => {
    expect(events.filter(({ what }) => what === 'enter')).toHaveLength(PROCESSES * TASKS)
    expect(events.filter(({ what }) => what === 'leave')).toHaveLength(PROCESSES * TASKS)
  })

  test('never more than ten are inside, and ten are', () => {
    let inside = 0
    let most = 0
    for (const { what } of events) {
      inside += what === 'enter' ? 1 : -1
      most = Math.max(most, inside)
    }
    expect(most).toBe(LIMIT)
  })

  test('no slot is held twice at once, and each is one of 1 to 10', () => {
    const taken = new Set()
    for (const { what, slot } of events) {
      expect(slot).toBeGreaterThanOrEqual(1)
      expect(slot).toBeLessThanOrEqual(LIMIT)
      expect(taken.has(slot)).toBe(what === 'leave')
      if (what === 'enter') taken.add(slot)
      else taken.delete(slot)
    }
  })

  test('the fencing tokens of a slot grow', () => {
    const last = new Map()
    for (const { what, slot, fencingToken } of events) {
      if (what !== 'enter') continue
      expect(fencingToken).toBeGreaterThan(last.get(slot) ?? 0)
      last.set(slot, fencingToken)
    }
  })

  test('nothing is held or waits afterwards, and what is left in Redis expires by itself', async () => {
    const limiter = new Limiter(server.url)
    const { held, waiting } = await limiter.status(KEY)
    expect({ held, waiting }).toEqual({ held: 0, waiting: 0 })
    await limiter.close()
    const keys = await redis(server.port, 'KEYS', '*')
    expect(keys.length).toBeGreaterThan(0)
    for (const key of keys) {
      expect(key).toMatch(/^cl:\{main job\}/)
      expect(await redis(server.port, 'PTTL', key)).toBeGreaterThan(0)
    }
    const listed = (line) => !line.includes('cmd=client')
    await until(
      async () => !(await redis(server.port, 'CLIENT', 'LIST')).trim().split('\n').some(listed),
      'no connection is left',
    )
  })
})
