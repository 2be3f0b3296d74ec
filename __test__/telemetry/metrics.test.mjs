// `limiter.metrics()` is an exposition that Prometheus' own parser reads, and its numbers are what happened.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Limiter } from 'concurrency-limit'
import { afterAll, describe, expect, test } from 'vitest'
import { attributes, instruments } from '../../lib/metrics/instruments.js'
import { prometheusClient, promtool } from '../../scripts/servers.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { rejection, until } from '../support/helpers.mjs'

const PYTHONPATH = await prometheusClient()
if (PYTHONPATH === null && process.env.CI) throw new Error('the parser of Prometheus could not be had')
const PROMTOOL = await promtool()
const program = fileURLToPath(new URL('../support/exposition.py', import.meta.url))

function parse(text) {
  const options = { input: text, encoding: 'utf8', env: { ...process.env, PYTHONPATH } }
  const { stdout, stderr, status } = spawnSync('python3', [program], options)
  if (status !== 0) throw new Error(`not an exposition: ${stderr}`)
  return JSON.parse(stdout)
}

const server = useRedis()
const limiters = []
const open = (prefix) => {
  const limiter = new Limiter(server.url, { keyPrefix: prefix })
  limiters.push(limiter)
  return limiter
}
afterAll(() => Promise.all(limiters.map((limiter) => limiter.close())))

/** The value of a sample by its labels, `concurrency_limit_` taken off both names. */
async function scrape(limiter) {
  const families = parse(await limiter.metrics())
  const short = (name) => name.replace(/^concurrency_limit_/, '')
  const samples = Object.values(families).flatMap((family) => family.samples)
  const said = samples.map(([name, labels, value]) => {
    const entries = Object.entries(labels).map(([label, text]) => `${short(label)}=${text}`)
    return [[short(name), ...entries.sort()].join(' '), value]
  })
  expect(new Set(said.map(([name]) => name)).size).toBe(said.length)
  return { families, value: Object.fromEntries(said) }
}

test.skipIf(PROMTOOL === null)('promtool finds nothing wrong with metrics()', async () => {
  const limiter = open('checked')
  await limiter.metrics()
  const odd = 'quo"te\\new\nline:1'
  await limiter.withLimit({ key: odd, limit: 1 }, async () => {
    await rejection(limiter.acquire({ key: odd, limit: 1, limitTimeout: 0.01 }))
    const check = (input) => {
      const { status, stdout, stderr } = spawnSync(PROMTOOL, ['check', 'metrics'], { input, encoding: 'utf8' })
      return { status, said: stdout + stderr }
    }
    const text = await limiter.metrics()
    expect(text).toContain('timed_out')
    expect(check(text)).toEqual({ status: 0, said: '' })
    const wrong = text.replaceAll('concurrency_limit_reconnects_total', 'concurrency_limit_reconnects')
    expect(check(wrong).said).toContain('counter metrics should have "_total" suffix')
  })
  await limiter.close() // a later test has something that begins before anybody measures
})

describe.skipIf(PYTHONPATH === null)('metrics()', () => {
  test('has every family with its type, also before anything happened', async () => {
    const limiter = open('empty')
    const { families } = await scrape(limiter)
    expect(Object.fromEntries(Object.entries(families).map(([name, { type }]) => [name, type]))).toEqual({
      concurrency_limit_slot_limit: 'gauge',
      concurrency_limit_slot_usage: 'gauge',
      concurrency_limit_request_waiting: 'gauge',
      concurrency_limit_request_oldest_wait_seconds: 'gauge',
      concurrency_limit_acquire_duration_seconds: 'histogram',
      concurrency_limit_lease_duration_seconds: 'histogram',
      concurrency_limit_leases_lost: 'counter',
      concurrency_limit_handoffs: 'counter',
      concurrency_limit_slots_kept: 'counter',
      concurrency_limit_redis_calls: 'counter',
      concurrency_limit_reconnects: 'counter',
    })
    for (const { help } of Object.values(families)) expect(help).not.toBe('')
    await limiter.close() // the next test has something that begins before anybody measures
  })

  test('counts what happens, by the class of the key, also what began before the first scrape', async () => {
    const limiter = open('counts')
    const first = await limiter.acquire({ key: 'pay:anna', limit: 3, weight: 2 })
    const early = limiter.acquire({ key: 'pay:anna', limit: 2, limitTimeout: 60 })
    await until(async () => (await limiter.status('pay:anna')).waiting === 1, 'one waits')
    const oldest = /^concurrency_limit_request_oldest_wait_seconds\{[^}]*\} [\d.e-]*[1-9]/m
    await until(async () => oldest.test(await limiter.metrics()), 'it has waited')
    const late = limiter.acquire({ key: 'pay:anna', limit: 2, limitTimeout: 60 })
    await until(async () => (await limiter.status('pay:anna')).waiting === 2, 'two wait')
    const before = (await scrape(limiter)).value
    expect(before).toMatchObject({ 'slot_usage group=pay state=held': 2, 'request_waiting group=pay': 2 })
    await first.release()
    await Promise.all([early, late].map(async (lease) => (await lease).release()))
    await rejection(limiter.acquire({ key: 'pay:bert', limit: 1, signal: AbortSignal.abort() }))
    const { value } = await scrape(limiter)
    expect(value).toMatchObject({
      'slot_limit group=pay': 1,
      'slot_usage group=pay state=held': 0,
      'request_waiting group=pay': 0,
      'request_oldest_wait_seconds group=pay': 0,
      'acquire_duration_seconds_count group=pay result=acquired': 1,
      'acquire_duration_seconds_count group=pay result=request_canceled': 1,
      'lease_duration_seconds_count group=pay outcome=released': 1,
    })
    expect(value['handoffs_total kind=pushed'] + value['handoffs_total kind=polled']).toBe(2)
    expect(value.redis_calls_total).toBeGreaterThan(3)
    expect(value.reconnects_total).toBe(0)
    expect(JSON.stringify(value)).not.toMatch(/anna|bert/)
  })

  test('has histograms whose buckets count up to the count', async () => {
    const limiter = open('buckets')
    await limiter.metrics()
    const holdMs = 30
    await limiter.withLimit({ key: 'k', limit: 1 }, () => new Promise((resolve) => setTimeout(resolve, holdMs)))
    const { families } = await scrape(limiter)
    const { samples } = families.concurrency_limit_lease_duration_seconds
    const buckets = samples.filter(([name]) => name.endsWith('_bucket'))
    const bounds = buckets.map(([, { le }]) => Number(le.replace('+Inf', 'Infinity')))
    expect(bounds).toEqual(bounds.toSorted((a, b) => a - b))
    expect(bounds.at(-1)).toBe(Infinity)
    const sum = samples.find(([name]) => name.endsWith('_sum'))[2]
    expect(sum).toBeGreaterThanOrEqual(holdMs / 1000 - 0.002)
    for (const [i, [, , count]] of buckets.entries()) expect(count).toBe(sum <= bounds[i] ? 1 : 0)
  })

  test('says why a lease was lost', async () => {
    const limiter = open('lost')
    await limiter.metrics()
    const lease = await limiter.acquire({ key: 'k', limit: 1, limitHold: 0.1 })
    await until(() => lease.lost, 'it is lost')
    const { value } = await scrape(limiter)
    const lost = Object.entries(value).filter(([name]) => name.startsWith('leases_lost_total '))
    expect(lost).toEqual([[expect.stringMatching(/group=k reason=(held_too_long|expired)$/), 1]])
    expect(value['lease_duration_seconds_count group=k outcome=lost']).toBe(1)
  })

  test('escapes what a class may have in it, and bounds how many there are', async () => {
    const limiter = open('classes')
    const strange = 'a "quoted" \\ back\nslash {x="y"} ü'
    await limiter.metrics({ maxGroups: 2, group: (key) => (key === 'bad' ? undefined : key) })
    for (const key of [strange, 'bad', 'second', 'third', 'fourth'])
      await limiter.withLimit({ key, limit: 1 }, () => {})
    const { families } = await scrape(limiter)
    const groups = families.concurrency_limit_slot_limit.samples.map(([, labels]) => labels.concurrency_limit_group)
    expect(groups.sort()).toEqual(['_OTHER', strange, 'second'])
  })

  test('speaks of its own limiter only, and of none that is closed', async () => {
    const [one, other] = [open('own'), open('own')]
    await one.metrics()
    await other.withLimit({ key: 'theirs', limit: 1 }, () => {})
    await other.acquire({ key: 'theirs', limit: 1 })
    expect(await one.metrics()).not.toContain('theirs')
    await one.close()
    expect((await rejection(one.metrics())).code).toBe('ERR_CLOSED')
  })
})

describe('the documentation', () => {
  const read = (path) => readFileSync(new URL(`../../docs/${path}`, import.meta.url), 'utf8')
  const nameOf = ({ name, unit }, isCounter) =>
    [name.replaceAll('.', '_'), ...(unit === 's' ? ['seconds'] : []), ...(isCounter ? ['total'] : [])].join('_')

  test('has a line for each instrument, with its name in Prometheus', async () => {
    const rows = [...read('observability.md').matchAll(/^\| `(concurrency_limit\.[\w.]+)` \| `(\w+)` \| (counter)?/gm)]
    const documented = rows.map(([, name, exposed, counter]) => [name, exposed, counter !== undefined])
    const declared = Object.values(instruments).map((instrument) => {
      const isCounter = /lost|handoffs|kept|calls|reconnects/.test(instrument.name)
      return [instrument.name, nameOf(instrument, isCounter), isCounter]
    })
    expect(documented).toEqual(declared)
    const limiter = open('documented')
    const text = await limiter.metrics()
    for (const [, exposed, isCounter] of documented) {
      expect(text).toMatch(new RegExp(`^# TYPE ${exposed} ${isCounter ? 'counter' : '(gauge|histogram)'}$`, 'm'))
    }
  })

  test('has a dashboard that asks for all of them and for nothing else', () => {
    const { panels, templating } = JSON.parse(read('grafana-dashboard.json'))
    const asked = JSON.stringify([panels, templating]).match(/\bconcurrency_limit_\w+(?=\{|, )/g)
    const families = new Set(asked.map((name) => name.replace(/_(bucket|sum|count)$/, '')))
    const labels = Object.values(attributes).map((name) => name.replaceAll('.', '_'))
    const exposed = [...read('observability.md').matchAll(/^\| `concurrency_limit\.[\w.]+` \| `(\w+)`/gm)]
    expect([...families].filter((name) => !labels.includes(name)).sort()).toEqual(
      exposed.map(([, name]) => name).sort(),
    )
  })

  test('has a line for each reason and each result', () => {
    const text = read('observability.md')
    const types = readFileSync(new URL('../../index.d.ts', import.meta.url), 'utf8')
    for (const member of ['AcquireContext', 'HoldContext']) {
      const body = new RegExp(`interface ${member} .*?^}`, 'ms').exec(types)[0].replaceAll(/\/\*.*?\*\//gs, '')
      const values = [...body.matchAll(/'(\w+)'/g)].map(([, value]) => value)
      expect(values.length).toBeGreaterThan(7)
      for (const value of values) expect(text).toContain(`\`${value}\``)
    }
  })
})

test('a bad option is named', async () => {
  const limiter = open('options')
  for (const options of [{ group: 'k' }, { maxGroups: 0 }, { classes: 1 }, null]) {
    expect((await rejection(limiter.metrics(options))).code).toBe('ERR_CONFIG')
  }
})
