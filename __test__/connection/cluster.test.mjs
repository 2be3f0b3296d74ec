// Groups are spread over the masters of a cluster; all that a Limiter does works on whatever master a group is. A
// master is killed under load from two processes: the other groups go on, its own do by themselves after the promotion.
//
// A promoted replica may lack the last writes of the dead master: those who held then may be joined by others until
// they notice. How many were inside at most is counted from the outside and bounded, not promised to be the limit.
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificates, speaksTls } from '../support/certificates.mjs'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'
import { keyOnEach, startCluster } from '../support/members.mjs'
import { mostAtOnce, startLoad } from '../support/traffic.mjs'

const LIMIT = 3
const PASSWORD = 'a password'
let cluster

beforeAll(async () => {
  cluster = await startCluster()
  const rules = [`>${PASSWORD}`, 'resetchannels', '&cl:push:*', '~cl:*', '+@all', '-@dangerous', '+cluster|slots']
  for (const { port } of cluster.members) await redis(port, 'ACL', 'SETUSER', 'app', 'on', ...rules)
}, 60_000)
afterAll(() => cluster?.stop())

async function using(args, work) {
  const limiter = new Limiter(...args)
  try {
    return await work(limiter)
  } finally {
    await limiter.close()
  }
}

test('groups of all names are limited, shown, listed, cleaned and released on whatever master they are', () =>
  using([{ cluster: [cluster.nodes[0]] }], async (limiter) => {
    const odd = ['}', '{', '{}', '{a}', 'a}b{c}%', '%7D', '🐝', 'with spaces']
    const keys = [...odd, ...Array.from({ length: 60 }, (_, number) => `many-${number}`)]
    const masters = await Promise.all(keys.slice(odd.length).map((key) => cluster.masterOf(key)))
    expect(new Set(masters).size).toBe(3)
    const leases = await Promise.all(keys.map((key) => limiter.acquire({ key, limit: 1, holder: 'me' })))
    for (const key of keys) {
      expect(await limiter.tryAcquire({ key, limit: 1 })).toBeNull()
      expect(await limiter.status(key)).toMatchObject({ held: 1, holders: [{ slots: [1] }] })
      expect(await limiter.clean(key)).toBe(0)
    }
    const listed = new Set()
    for await (const key of limiter.keys()) listed.add(key)
    expect([...listed].sort()).toEqual([...keys].sort())
    const some = new Set()
    for await (const key of limiter.keys('many-1?')) some.add(key)
    expect(some.size).toBe(10)
    for (const key of keys.slice(0, 20)) expect(await limiter.release({ key, holder: 'me' })).toBe(true)
    const released = await Promise.all(leases.map((lease) => lease.release()))
    expect(released.filter((held) => held)).toHaveLength(keys.length - 20)
  }))

test('who waits is told by push, from whatever master', () =>
  using([cluster.url, { clientName: 'holder' }], (holder) =>
    using([cluster.url, { clientName: 'waiter' }], async (waiter) => {
      for (const { key } of await keyOnEach(cluster)) {
        const lease = await holder.acquire({ key, limit: 1 })
        const waiting = waiter.acquire({ key, limit: 1 })
        await until(async () => (await holder.status(key)).waiting === 1, 'one waits')
        const releasedAt = performance.now()
        await lease.release()
        await (await waiting).release()
        // Without push it would be found by the look, about a second later.
        expect(performance.now() - releasedAt).toBeLessThan(700)
      }
    }),
  ))

test('a url names a user, who needs no more than its own keys and channels', () =>
  using([`redis+cluster://app:${encodeURIComponent(PASSWORD)}@${cluster.nodes[1]}`], async (limiter) => {
    let unavailable = 0
    limiter.on('pushUnavailable', () => unavailable++)
    for (const { key } of await keyOnEach(cluster)) await (await limiter.acquire({ key, limit: 1 })).release()
    expect(unavailable).toBe(0)
  }))

test('a server that is no member of a cluster is refused in words', async () => {
  const server = await startRedis({ age: 0 })
  await using([{ cluster: [{ host: '127.0.0.1', port: server.port }] }], async (limiter) => {
    const error = await rejection(limiter.acquire({ key: 'k', limit: 1 }))
    expect(error).toMatchObject({ code: 'ERR_UNAVAILABLE' })
    expect(error.message).toContain('cluster support disabled')
  })
  await server.stop()
})

test.runIf(speaksTls())(
  'every member is reached by TLS, with the same settings',
  async () => {
    const certificates = makeCertificates()
    const secure = await startCluster(certificates)
    try {
      await using([secure.url, { tls: { ca: certificates.ca } }], async (limiter) => {
        for (const { key } of await keyOnEach(secure)) await (await limiter.acquire({ key, limit: 1 })).release()
      })
      await using([{ cluster: secure.nodes, tls: { ca: certificates.stranger } }], async (limiter) => {
        const error = await rejection(limiter.acquire({ key: 'k', limit: 1 }))
        expect(error).toMatchObject({ code: 'ERR_UNAVAILABLE' })
        expect(error.message).toContain('certificate')
      })
    } finally {
      await secure.stop()
      certificates.remove()
    }
  },
  60_000,
)

test('a killed master: the others go on undisturbed, its groups after the promotion, and nothing is left', async () => {
  const groups = await keyOnEach(cluster)
  const [{ key, master }] = groups
  const loads = groups.map((group) => {
    const config = { key: group.key, limit: LIMIT, limitTimeout: 20, limitExpire: 6 }
    return [startLoad(cluster.url, config, 6), startLoad(cluster.url, config, 6)]
  })
  const granted = (group) => loads[group].reduce((sum, load) => sum + load.granted(), 0)
  const more = (group, many) => {
    const goal = granted(group) + many
    return until(() => granted(group) >= goal, `${many} more in group ${group}`, 20_000)
  }
  try {
    await Promise.all([0, 1, 2].map((group) => more(group, 100)))
    process.kill(master.pid, 'SIGKILL')
    const undisturbed = Promise.all([more(1, 30), more(2, 30)])
    await Promise.race([
      undisturbed,
      cluster.promoted(key, master).then(() => Promise.reject(new Error('others stood still until the promotion'))),
    ])
    await cluster.promoted(key, master)
    await Promise.all([0, 1, 2].map((group) => more(group, 100)))
    const ends = await Promise.all(loads.map((pair) => Promise.all(pair.map((load) => load.stop()))))
    const most = ends.map((pair) => mostAtOnce(pair.flatMap(({ intervals }) => intervals)))
    const failures = ends.map((pair) => pair.map((end) => end.failures))
    expect(failures).toEqual([
      [{}, {}],
      [{}, {}],
      [{}, {}],
    ])
    expect(most.slice(1)).toEqual([LIMIT, LIMIT])
    // What was granted and not replicated: at most all that the dead master could grant, beside as many new ones.
    expect(most[0]).toBeLessThanOrEqual(2 * LIMIT)
  } finally {
    for (const load of loads.flat()) load.kill()
  }
  await using([cluster.url, { clientName: 'auditor' }], async (limiter) => {
    for (const group of groups) {
      const empty = async () => {
        await limiter.clean(group.key)
        const { held, waiting } = await limiter.status(group.key)
        return held + waiting === 0
      }
      await until(empty, `nothing is left in ${group.key}`)
    }
  })
}, 90_000)
