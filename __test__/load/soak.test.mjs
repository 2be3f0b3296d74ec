// The days of `npm run soak -- --mix`: a seed repeats its draw, and the observer finds what it's there for. Records are
// made by hand here; days on real servers are lived through by .ci/run.
import { expect, test } from 'vitest'
import { drawDay, leaveOut } from '../../scripts/soak/draw.mjs'
import { names } from '../../scripts/soak/faults.mjs'
import { judge } from '../../scripts/soak/judge.mjs'

const SEEDS = Array.from({ length: 300 }, (_, i) => i + 1)

test('a seed draws the same day again, and another seed another one', () => {
  for (const seed of SEEDS.slice(0, 20)) expect(drawDay(seed)).toEqual(drawDay(seed))
  expect(new Set(SEEDS.map((seed) => JSON.stringify({ ...drawDay(seed), seed: 0 }))).size).toBe(SEEDS.length)
})

test('every place, every fault and every option is drawn by some seed', () => {
  const days = SEEDS.map((seed) => drawDay(seed))
  expect(new Set(days.map(({ kind }) => kind))).toEqual(new Set(['single', 'sentinel', 'cluster']))
  expect(new Set(days.flatMap(({ faults }) => faults.map(({ name }) => name)))).toEqual(new Set(names))
  const options = new Set(days.flatMap(({ connection }) => Object.keys(connection)))
  for (const name of ['minReplicas', 'onUnavailable', 'stallTimeout', 'maxConnections']) expect(options).toContain(name)
  const asked = new Set(days.flatMap(({ tasks }) => tasks.flatMap(({ config }) => Object.keys(config))))
  for (const name of ['weight', 'priority', 'maxWaiting', 'renew', 'limitHold', 'limitInterval']) {
    expect(asked).toContain(name)
  }
})

test('what is left out is gone from the day, and the rest stays as drawn', () => {
  const day = SEEDS.map((seed) => drawDay(seed)).find(({ faults }) => faults.some(({ name }) => name === 'memory full'))
  const less = leaveOut(day, ['memory full', 'settle'])
  expect(less.faults).toEqual(day.faults.filter(({ name }) => name !== 'memory full'))
  expect(less.connection).not.toHaveProperty('settle')
  expect(less.tasks).toEqual(day.tasks)
  expect(less.workers).toEqual(day.workers)
})

const group = { key: 'k', limit: 2 }
const usual = { config: { ...group, limitExpire: 3, limitTimeout: 1 }, holder: 'none' }

function life(name) {
  const pausedIn = function (from, to) {
    return this.gaps.reduce((sum, gap) => sum + Math.max(0, Math.min(to, gap.to) - Math.max(from, gap.from)), 0)
  }
  return { name, gaps: [], lates: [], warnings: [], requests: new Map(), pausedIn }
}

/** Inside from the one moment to the other; the token is the moment of the grant unless said. */
const lease = (life, from, good, more = {}) => {
  const { slot = 1, task = usual, ...rest } = more
  const told = { leaseId: `${life.name}-${from}`, n: from, token: from, slots: [slot], standIn: false }
  return { ...told, life, key: 'k', task, from, good, outAt: good, wasLost: false, ...rest }
}

const request = (life, at, settledAt, more = {}) => {
  return { life, n: at, at, settledAt, task: usual, limitTimeout: 1, outcome: 'granted', ...more }
}

/** The rules that a record breaks. */
function broken({ connection = {}, kind = 'single', ...given }) {
  const day = { kind, connection: { commandTimeout: 1, settle: 2, ...connection }, groups: [group] }
  const moments = { settledAt: 0, calmAt: 50_000, loadEndsAt: 54_000, finishedAt: 55_000 }
  const nothing = { troubles: [], stops: [], promotions: [], leases: [], requests: [], lives: [], lines: [], said: [] }
  return [...new Set(judge({ day, ...moments, ...nothing, ...given }).map(({ rule }) => rule))]
}

const TWICE = 'no slot is held twice at once'
const [one, other] = [life('w1'), life('w2')]

test('two inside one slot are a fault, two one after the other or in two slots are not', () => {
  expect(broken({ leases: [lease(one, 100, 300), lease(other, 299, 400)] })).toEqual([TWICE])
  expect(broken({ leases: [lease(one, 100, 300), lease(other, 300, 400)] })).toEqual([])
  expect(broken({ leases: [lease(one, 100, 300), lease(other, 200, 400, { slot: 2 })] })).toEqual([])
  expect(broken({ leases: [lease(one, 100, 300, { slot: 3 })] })).toEqual([
    'slots are within the limit, as many as the weight',
  ])
})

test('a failover allows two for a while, a planned one of a cluster never, and minReplicas not what it had', () => {
  const leases = (until) => [lease(one, 9_000, until), lease(other, 10_200, until)]
  const promotions = [{ server: 's2', from: 10_000, to: 10_050, isPlanned: false }]
  expect(broken({ kind: 'sentinel', promotions, leases: leases(12_000) })).toEqual([])
  expect(broken({ kind: 'sentinel', promotions, leases: leases(16_000) })).toEqual([TWICE])
  const planned = [{ ...promotions[0], isPlanned: true }]
  expect(broken({ kind: 'cluster', promotions: planned, leases: leases(12_000) })).toEqual([TWICE])
  expect(broken({ kind: 'sentinel', promotions, leases: leases(12_000), connection: { minReplicas: 1 } })).toEqual([
    TWICE,
  ])
  // Nor does it excuse what was so before.
  expect(
    broken({ kind: 'sentinel', promotions, leases: [lease(one, 9_000, 12_000), lease(other, 9_500, 12_000)] }),
  ).toEqual([TWICE])
})

test('a restart allows another beside who was away all the time until it had settled, and beside nobody else', () => {
  const killed = { what: 'a server killed', from: 9_900, to: 10_000 }
  const leases = [lease(one, 9_000, 12_500), lease(other, 12_100, 12_500)]
  expect(broken({ troubles: [killed], leases })).toEqual([TWICE])
  const away = { what: 'workers apart', from: 9_800, to: 12_000, workers: ['w1'] }
  expect(broken({ troubles: [killed, away], leases })).toEqual([])
})

test("with 'local' a process doesn't let in beside what it holds itself, and nobody is let in for memory that is full", () => {
  const connection = { onUnavailable: 'local' }
  const apart = { what: 'workers apart', from: 900, to: 5_000, workers: ['w1'] }
  const second = { standIn: true, token: 2_000 }
  const leases = [lease(one, 500, 3_000), lease(one, 2_000, 2_500, second)]
  expect(broken({ connection, troubles: [apart], leases })).toEqual(["'local' keeps the limit inside a process"])
  expect(broken({ connection, troubles: [apart], leases: [leases[1]] })).toEqual([])
  const full = { what: 'memory full', from: 900, to: 5_000, reach: false }
  expect(broken({ connection, troubles: [full], leases: [leases[1]] })).toEqual([
    'leases without Redis are for when it cannot be reached',
  ])
})

test('a request has its own time and what its process stood still, not more', () => {
  const late = 'every request settles within its own time'
  expect(broken({ requests: [request(one, 1_000, 3_900)] })).toEqual([])
  expect(broken({ requests: [request(one, 1_000, 4_100)] })).toEqual([late])
  expect(broken({ requests: [request(one, 1_000, undefined)] })).toContain(late)
  const stopped = { ...life('w1'), gaps: [{ from: 1_500, to: 2_500 }] }
  expect(broken({ requests: [request(stopped, 1_000, 4_100)] })).toEqual([])
  expect(broken({ requests: [request(one, 1_000, 2_000, { abortedAt: 1_100, outcome: 'aborted' })] })).toEqual([
    'an aborted request settles at once',
  ])
})

test('what is not renewed ends, and nothing is lost or refused on a good day', () => {
  const short = { ...usual, config: { ...usual.config, renew: false, limitExpire: 1 } }
  expect(broken({ leases: [lease(one, 1_000, 1_990, { task: short })] })).toEqual([])
  expect(broken({ leases: [lease(one, 1_000, 2_300, { task: short })] })).toEqual(['what is not renewed ends'])
  expect(broken({ leases: [lease(one, 1_000, 1_500, { wasLost: true })] })).toEqual([
    'nothing is lost or refused for no reason',
  ])
  const refused = { outcome: 'ERR_UNAVAILABLE' }
  expect(broken({ requests: [request(one, 1_000, 1_500, refused)] })).toEqual([
    'nothing is lost or refused for no reason',
  ])
  const cut = { what: 'connections cut', from: 900, to: 950, workers: ['w1'] }
  expect(broken({ requests: [request(one, 1_000, 1_500, refused)], troubles: [cut] })).toEqual([])
  expect(broken({ requests: [request(one, 1_000, 1_500, { outcome: 'TypeError' })] })).toEqual(['no other error'])
})

test('fencing tokens of a slot grow', () => {
  const leases = [lease(one, 1_000, 1_100, { token: 9 }), lease(other, 1_200, 1_300, { token: 8 })]
  expect(broken({ leases })).toEqual(['fencing tokens of a slot grow'])
})

test('nothing new is granted while a server settles, and what is told is good for a while', () => {
  const killed = { what: 'a server killed', from: 9_000, to: 10_100, startedAt: 10_000 }
  const asking = life('w1')
  asking.requests.set(11_500, { at: 10_500 })
  asking.requests.set(12_100, { at: 10_500 })
  expect(broken({ troubles: [killed], leases: [lease(asking, 12_100, 12_200)] })).toEqual([])
  const early = lease(asking, 11_500, 11_600)
  expect(broken({ troubles: [killed], leases: [early] })).toEqual(['nothing new is granted while a server settles'])
  const stops = [{ what: 'stopped', worker: 'w1', from: 6_000, to: 9_900 }]
  const lost = lease(one, 10_000, 10_300, { wasLost: true })
  expect(broken({ stops, leases: [lost] })).toEqual(['a lease that is told is good for a while'])
})

test("a slot that is free is given by 'local' while Redis is gone", () => {
  const connection = { onUnavailable: 'local', unavailableTimeout: 10 }
  const troubles = [{ what: 'a server killed', from: 9_000, to: 13_000 }]
  const requests = [request(one, 9_500, 12_000, { outcome: 'ERR_LIMIT_EXCEEDED', limitTimeout: 3 })]
  const standIn = { standIn: true, task: usual }
  expect(broken({ connection, troubles, requests })).toEqual(["'local' gives a slot that is free"])
  expect(broken({ connection, troubles, requests, leases: [lease(one, 9_400, 10_400, standIn)] })).toEqual([])
})
