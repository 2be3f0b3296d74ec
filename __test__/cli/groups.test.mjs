// status, keys, release and clean tell of other processes that hold, wait and die, as text and as JSON.
import { hostname } from 'node:os'
import { stripVTControlCharacters } from 'node:util'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cli, cliJson } from '../support/cli.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { redis, startProcess, until } from '../support/helpers.mjs'

const server = useRedis()
let env
let limiter
let other
beforeAll(() => {
  env = { REDIS_URL: server.url, LANG: 'C.UTF-8' }
  limiter = new Limiter(server.url)
  other = startProcess({ url: server.url })
})
afterAll(async () => {
  await limiter?.close()
  other?.kill('SIGKILL') // somebody waits in it for a minute
  await other?.ended
})

const waiting = (key, n) => until(async () => (await limiter.status(key)).waiting === n, `${n} wait for ${key}`)

describe('status', () => {
  test('says who holds and who waits, for how long, and until when', async () => {
    const first = await other.call('acquire', { key: 'seen', limit: 3, label: 'a report', limitExpire: 30 })
    await other.call('acquire', { key: 'seen', limit: 3, weight: 2, holder: 'a name' })
    await other.call('wait', { key: 'seen', limit: 3, label: 'later', priority: 2, limitTimeout: 60 }, 1)
    await waiting('seen', 1)
    await until(async () => (await limiter.status('seen')).waiters[0].waited > 0.2, 'some time has passed')
    const { stdout, code } = await cli(['status', 'seen'], { env })
    expect(code).toBe(0)
    const process = `worker\\.mjs ${hostname()}:${other.pid}`
    const [group, heads, one, two, waiterHeads, waiter] = stdout.split('\n')
    expect(group).toMatch(/^seen {2}█{20} {2}3\/3 held, 1 waiting, the longest for [\d.]+ s$/)
    expect(heads).toMatch(/SLOT +HELD FOR +ENDS IN +LABEL +HOLDER +PROCESS +LEASE/)
    expect(one).toMatch(new RegExp(`^ +1 +[\\d.]+ s +(2\\d|30) s +a report +- +${process} +${first.leaseId}$`))
    expect(two).toMatch(new RegExp(`^ +2-3 +[\\d.]+ s +(5\\d|60) s +- +a name +${process} +[0-9a-f]{16}-\\d+$`))
    expect(waiterHeads).toMatch(/WAITS FOR +WANTS +PRIORITY/)
    expect(waiter).toMatch(new RegExp(`^ +[\\d.]+ s +1 of 3 +2 +later +- +${process} +[0-9a-f]{16}-\\d+$`))

    const [json] = await cliJson(['status', 'seen'], { env })
    expect(json).toMatchObject({ key: 'seen', limit: 3, held: 3, waiting: 1, oldestWait: json.waiters[0].waited })
    expect(json.holders[0]).toMatchObject({ leaseId: first.leaseId, label: 'a report', slots: [1] })
    expect(json.holders[0].heldFor).toBeGreaterThan(0.2)
    expect(json.holders[0].heldFor).toBeLessThan(20)
  })

  test('without a key it shows all groups; one that nobody uses is empty', async () => {
    await limiter.withLimit({ key: 'all 1', limit: 2 }, async () => {
      const groups = await cliJson(['status'], { env })
      expect(groups.map(({ key }) => key)).toContain('all 1')
      expect(groups.find(({ key }) => key === 'all 1').held).toBe(1)
    })
    const [nobody] = await cliJson(['status', 'no such key'], { env })
    expect(nobody).toMatchObject({ held: 0, waiting: 0, holders: [], oldestWait: null })
  })

  test('what others wrote reaches no terminal as a command', async () => {
    const evil = 'evil \u001b[2J\u0007\n\u202e\u009b31m'
    await limiter.withLimit({ key: evil, limit: 1, label: evil }, async () => {
      const { stdout } = await cli(['status', evil], { env: { ...env, FORCE_COLOR: '1' } })
      expect(stripVTControlCharacters(stdout).replaceAll('\n', '')).not.toMatch(/\p{Cc}|\u202e/u)
      expect(stdout).toContain('evil \\u001b[2J\\u0007\\u000a\\u202e\\u009b31m')
      expect(stdout.split('\n')).toHaveLength(5)
    })
  })

  test('a long list is cut, and says by how many', async () => {
    const leases = await Promise.all(Array.from({ length: 9 }, () => limiter.acquire({ key: 'many', limit: 10 })))
    const { stdout } = await cli(['status', 'many', '--most', '4'], { env })
    expect(stdout).toContain('… and 5 more holders')
    expect(await cliJson(['status', 'many'], { env })).toMatchObject([{ holders: { length: 9 } }])
    await Promise.all(leases.map((lease) => lease.release()))
  })
})

describe('keys', () => {
  test('lists the groups that a pattern chooses, with their figures', async () => {
    await limiter.withLimit({ key: 'render:a', limit: 4 }, async () => {
      const { stdout } = await cli(['keys', 'render:*'], { env: { REDIS_URL: server.url, LANG: 'C' } })
      const [heads, line, ...more] = stdout.trimEnd().split('\n')
      expect(heads).toMatch(/^KEY +USE +HELD +WAITING +LONGEST WAIT$/)
      expect(line).toMatch(/^render:a {2}#{5}-{15} {2}1\/4 +0 +-$/)
      expect(more).toEqual([])
      expect(await cliJson(['keys', 'render:*'], { env })).toEqual([
        { key: 'render:a', limit: 4, held: 1, waiting: 0, oldestWait: null },
      ])
    })
    expect((await cli(['keys', 'nothing*'], { env })).stdout).toBe('there are no such groups\n')
  })

  test('a key that has other data is told beside the rest, by its exit code too', async () => {
    await redis(server.port, 'HSET', 'cl:{foreign}', 'mine', 1)
    const { code, stdout } = await cli(['keys'], { env })
    expect(code).toBe(76)
    expect(stdout).toMatch(/^'foreign': \S/m)
    expect(stdout).toMatch(/^seen {2}/m)
    await redis(server.port, 'DEL', 'cl:{foreign}')
  })

  test('--prefix looks where a service with that keyPrefix keeps its groups', async () => {
    const elsewhere = new Limiter({ url: server.url, keyPrefix: 'elsewhere' })
    await elsewhere.withLimit({ key: 'there', limit: 1 }, async () => {
      const keys = await cliJson(['keys', '--prefix', 'elsewhere'], { env })
      expect(keys.map(({ key }) => key)).toEqual(['there'])
    })
    await elsewhere.close()
  })
})

describe('release', () => {
  test('takes a lease by its id, and whoever waits gets the slot', async () => {
    const { leaseId } = await other.call('acquire', { key: 'taken', limit: 1 })
    const next = limiter.acquire({ key: 'taken', limit: 1 })
    await waiting('taken', 1)
    const { code, stdout } = await cli(['release', 'taken', '--lease', leaseId], { env })
    expect({ code, stdout }).toEqual({ code: 0, stdout: `released ${leaseId} of taken\n` })
    await (await next).release()
    const again = await cli(['release', 'taken', '--lease', leaseId], { env })
    expect(again).toMatchObject({ code: 1, stdout: '', stderr: `nobody holds ${leaseId} of taken\n` })
  })

  test('takes one by its holder, and tells it as JSON', async () => {
    await limiter.acquire({ key: 'named', limit: 1, holder: 'job 7' })
    expect(await cliJson(['release', 'named', '--holder', 'job 7'], { env })).toEqual({
      ...{ key: 'named', holder: 'job 7', released: true },
    })
    expect(await limiter.status('named')).toMatchObject({ held: 0 })
  })
})

test('the embedded store tells how long one holds and waits, too', async () => {
  const alone = new Limiter('memory:')
  const lease = await alone.acquire({ key: 'k', limit: 1 })
  const next = alone.acquire({ key: 'k', limit: 1 })
  const told = async () => (await alone.status('k')).waiters[0]?.waited > 0.05
  await until(told, 'it has waited for a while')
  const { holders, waiters } = await alone.status('k')
  expect(holders[0].heldFor).toBeGreaterThanOrEqual(waiters[0].waited)
  expect(holders[0].heldFor).toBeLessThan(20)
  await lease.release()
  await (await next).release()
  await alone.close()
})

test('clean removes what a killed process left when its lease is over, and lets the next in', async () => {
  const victim = startProcess({ url: server.url })
  await victim.call('acquire', { key: 'left', limit: 1, limitExpire: 0.3 })
  victim.kill('SIGKILL')
  await victim.ended
  const left = async () => Number(await redis(server.port, 'ZCOUNT', 'cl:{left}:ends', '(0', Date.now()))
  await until(left, 'the lease is over')
  expect(await cliJson(['clean', 'left'], { env })).toEqual([{ key: 'left', removed: 1 }])
  expect((await cli(['clean', '--all'], { env })).stdout).toMatch(/^left +0 removed$/m)
})
