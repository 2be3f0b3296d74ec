// The world of a day while it lasts: its place, its workers, its network, and the notes on what went wrong when, which
// the observer reads. Also the watch over who is a primary, since a failover comes by itself.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../__test__/support/helpers.mjs'
import { startClock } from './clock.mjs'
import { now } from './moment.mjs'
import { Network } from './network.mjs'
import { namedBy, startPlace } from './places.mjs'
import { Worker } from './process.mjs'
import { USER, within } from './server.mjs'

const WATCH_MS = 50
const BUSY_MS = 150
const HEALED_WITHIN_MS = 20_000

export class World {
  network = new Network()
  workers = new Map()
  troubles = []
  promotions = []
  #folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-soak-'))
  #busy = new Set()
  #endAll = () => this.network.endAll()
  #isWatching = true
  #isPlanned = false
  #clock

  static async begin(day) {
    const world = new World()
    world.day = day
    world.#clock = world.#watchMachine()
    process.on('exit', world.#endAll)
    try {
      if (day.clocks) world.clock = await startClock()
      const { network } = world
      const { kind, replicas, seeds } = day
      world.place = await startPlace(kind, { network, replicas, seeds, made: world.clock?.server })
      const { servers, sentinels = [] } = world.place
      const watched = [
        ...servers.map((server) => world.#watch(server)),
        ...sentinels.map((one) => world.#watchWord(one)),
      ]
      world.watching = Promise.all(watched)
      for (const settings of day.workers) world.#employ(settings)
    } catch (error) {
      await world.end()
      throw error
    }
    return world
  }

  /** The network of the day is this process: while a busy machine keeps it from turning, nobody reaches anybody. */
  #watchMachine() {
    let last = now()
    return setInterval(() => {
      const at = now()
      if (at - last > BUSY_MS) this.troubles.push({ what: 'a busy machine', from: last, to: at })
      last = at
    }, 20)
  }

  #employ({ name, seed, client }) {
    const { day } = this
    const tasks = day.tasks.map((task, id) => ({ ...task, id }))
    const { minReplicas: _, ...connection } = day.connection
    const settings = { name, seed, client, tasks, where: this.place.where(client), connection }
    if (!client) Object.assign(settings, { connection: { ...day.connection, clientName: name } })
    const isAhead = this.workers.size === 0
    const worker = new Worker(settings, this.#folder, this.network, isAhead ? this.clock?.worker : {})
    this.workers.set(name, worker)
    worker.start()
  }

  /** Notes a trouble from now on, until what this gives is called, with what is to be noted beside. */
  trouble(details) {
    const trouble = { ...details, from: now(), to: Number.POSITIVE_INFINITY }
    this.troubles.push(trouble)
    return (more) => Object.assign(trouble, more, { to: now() })
  }

  /** Does it unless something of the same kind is being done. */
  async alone(kind, work) {
    if (this.#busy.has(kind)) return
    this.#busy.add(kind)
    try {
      await work()
    } finally {
      this.#busy.delete(kind)
    }
  }

  /** For what a worker can't answer because it was killed meanwhile. */
  expectEnd = (error) => {
    if (!/has ended|closed|EPIPE|ERR_IPC/.test(`${error.message} ${error.code}`)) throw error
  }

  /** One command to every server that answers. */
  async tellServers(...words) {
    await Promise.all(this.place.servers.map((server) => server.ask(...words).catch(() => {})))
  }

  /** Has the replica of the key's primary take its place; `how` are the words of CLUSTER FAILOVER. */
  async failOver(key, how) {
    const before = this.promotions.length
    const old = await this.place.masterOf(key)
    this.#isPlanned = how?.length === 0
    if (how === undefined) {
      const { redis } = await import('../../__test__/support/helpers.mjs')
      await redis(this.place.sentinels[0].port, 'SENTINEL', 'FAILOVER', this.place.name)
    } else {
      const heir = await this.#replicaOf(old)
      await heir?.ask('CLUSTER', 'FAILOVER', ...how)
    }
    await until(() => this.promotions.length > before, 'somebody is promoted', 4_000).catch(() => {})
    this.#isPlanned = false
  }

  async #replicaOf({ gate }) {
    for (const server of this.place.servers) {
      const [role, , port] = await server.ask('ROLE').catch(() => [])
      if (role === 'slave' && port === gate.port) return server
    }
    return undefined
  }

  async #watch(server) {
    let role
    let lacking
    let seenAt = now()
    while (this.#isWatching) {
      await sleep(WATCH_MS)
      if (server.pid === undefined) continue
      const answer = await within(1_000, server.ask('ROLE'), 'role').catch(() => undefined)
      if (answer === undefined) continue
      if (role === 'slave' && answer[0] === 'master') {
        this.promotions.push({ server: server.name, from: seenAt, to: now(), isPlanned: this.#isPlanned })
      }
      if (role === 'master' && answer[0] === 'slave') {
        this.troubles.push({ what: 'demoted', server: server.name, from: seenAt, to: now() })
      }
      role = answer[0]
      seenAt = now()
      const lacks = this.day.connection.minReplicas > 0 && role === 'master' && answer[2].length === 0
      if (lacks) lacking ??= this.trouble({ what: 'no replica', server: server.name })
      else {
        lacking?.()
        lacking = undefined
      }
    }
  }

  /**
   * A sentinel may name a former primary again that never heard that it wasn't one: then nothing is seen of that at the
   * server.
   */
  async #watchWord(sentinel) {
    let named
    let seenAt = now()
    while (this.#isWatching) {
      await sleep(WATCH_MS)
      const port = await namedBy(sentinel).catch(() => undefined)
      if (port === undefined) continue
      if (named !== undefined && port !== named) {
        const server = this.place.servers.find(({ gate }) => gate.port === port)
        this.promotions.push({ server: server.name, from: seenAt, to: now(), isPlanned: false })
      }
      named = port
      seenAt = now()
    }
  }

  /** All that a fault may have left behind is put right; resolves when every group has its primary again. */
  async heal() {
    await this.tellServers('ACL', 'SETUSER', USER, 'on', '~*', '&*', '+@all')
    await this.tellServers('CONFIG', 'SET', 'maxmemory', '0')
    let last
    const serves = async () => {
      try {
        if (this.day.kind !== 'cluster') await this.#subdue()
        for (const { key } of this.day.groups) {
          const master = await this.place.masterOf(key)
          if ((await master.ask('PING')) !== 'PONG') return false
        }
        return !(this.day.connection.minReplicas > 0) || (await this.#followed())
      } catch (error) {
        last = error
        return false
      }
    }
    await until(serves, 'every group has a primary', HEALED_WITHIN_MS).catch((cause) => {
      throw new Error(cause.message, { cause: last })
    })
  }

  /** A former primary that came back follows, and its clients are sent away: what sentinels do after eight seconds. */
  async #subdue() {
    const primary = await this.place.masterOf()
    for (const server of this.place.servers.filter((one) => one !== primary)) {
      const [role] = await server.ask('ROLE')
      if (role !== 'master') continue
      await server.ask('REPLICAOF', '127.0.0.1', primary.gate.port)
      for (const type of ['pubsub', 'normal']) await server.ask('CLIENT', 'KILL', 'TYPE', type)
    }
  }

  /** Every replica is in step, so that minReplicas can be met. */
  async #followed() {
    const info = await Promise.all(this.place.servers.map((server) => server.ask('INFO', 'replication')))
    return info.every((text) => /role:master/.test(text) || /master_link_status:up/.test(text))
  }

  async end() {
    this.#isWatching = false
    clearInterval(this.#clock)
    for (const worker of this.workers.values()) if (worker.life.exit === undefined) await worker.kill()
    await this.watching
    await this.place?.end()
    await this.network.close()
    // Nothing is left, unless the place couldn't be made.
    this.network.endAll()
    process.off('exit', this.#endAll)
    this.clock?.end()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
