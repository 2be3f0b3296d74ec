// Whom a process asks about its cluster when the members that it was begun with are gone for good, or are something
// else by now.
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { redis, startRedis, until } from '../support/helpers.mjs'
import { keyOnEach, startCluster } from '../support/members.mjs'

let cluster
beforeAll(async () => {
  cluster = await startCluster()
}, 60_000)
afterAll(() => cluster?.stop())

test("a process whose one seed is gone, and its address somebody else's, asks the members that the cluster named", async () => {
  const groups = await keyOnEach(cluster)
  const { key, master: seed } = groups.find(({ master }) => master !== cluster.members[0])
  const limiter = new Limiter({ cluster: [`127.0.0.1:${seed.port}`], clientName: 'one-seed', connectTimeout: 4 })
  let stranger
  try {
    const config = { limit: 1, limitTimeout: 20 }
    const passes = () =>
      Promise.all(groups.map(async (group) => (await limiter.acquire({ key: group.key, ...config })).release()))
    let disconnects = 0
    limiter.on('disconnect', () => disconnects++)
    await passes()
    process.kill(seed.pid, 'SIGKILL')
    await cluster.promoted(key, seed)
    expect(await passes()).toEqual([true, true, true])
    const alive = cluster.members.filter((member) => member !== seed)
    const breaks = async () => {
      await Promise.all(alive.map(({ port }) => redis(port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')))
      return disconnects > 0
    }
    await until(breaks, 'the last link is broken')
    expect(await passes()).toEqual([true, true, true])
    // A server at the seed's address that belongs to no cluster.
    stranger = await startRedis({ port: seed.port, age: 0 })
    disconnects = 0
    await until(breaks, 'the last link is broken again')
    expect(await passes()).toEqual([true, true, true])
  } finally {
    await limiter.close()
    await stranger?.stop()
  }
}, 60_000)
