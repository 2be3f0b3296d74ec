// A server that holds everybody up or refuses everything for some seconds: nobody hears of it who has the time to wait,
// nothing is lost, exceeded or left behind.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { redis, startRedis, until } from '../support/helpers.mjs'
import { judge, startCrowd } from '../support/load.mjs'

const LIMIT = 3
const TROUBLE_MS = 2500

const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-standstill-'))
let server
let witness
beforeAll(async () => {
  server = await startRedis({ args: ['--dir', folder, '--lua-time-limit', '50'] })
  witness = new Limiter(server.url)
})
afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})
afterAll(async () => {
  await witness?.close()
})

const ask = (...args) => redis(server.port, ...args)
const savesWell = async () => /rdb_last_bgsave_status:(\w+)/.exec(await ask('INFO', 'persistence'))[1] === 'ok'

async function save(outcome) {
  await ask('BGSAVE')
  await until(async () => (await savesWell()) === outcome, 'the snapshot has been tried')
}

/** Connections that stay until they are ended, as many as asked for. */
function occupy(count) {
  const sockets = Array.from({ length: count }, () => connect(server.port, '127.0.0.1').on('error', () => {}))
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

/** The same command over and over. */
async function flood(command) {
  const admin = connect(server.port, '127.0.0.1')
  admin.on('data', () => {})
  const end = performance.now() + TROUBLE_MS
  while (performance.now() < end) {
    admin.write(`${command}\r\n`)
    await sleep(1)
  }
  admin.destroy()
}

const troubles = {
  'is paused': async () => {
    await ask('CLIENT', 'PAUSE', TROUBLE_MS, 'ALL')
    await sleep(TROUBLE_MS)
  },
  'is paused for all that write': async () => {
    await ask('CLIENT', 'PAUSE', TROUBLE_MS, 'WRITE')
    await sleep(TROUBLE_MS)
  },
  "is busy with somebody's script": () =>
    ask('EVAL', "local t = redis.call('TIME') repeat local n = redis.call('TIME') until n[1] - t[1] > 2", 0),
  'is a read-only replica': async () => {
    await ask('REPLICAOF', '127.0.0.1', 1)
    await sleep(TROUBLE_MS)
    await ask('REPLICAOF', 'NO', 'ONE')
  },
  'cannot write its snapshots': async () => {
    const inTheWay = join(folder, 'dump.rdb')
    await ask('CONFIG', 'SET', 'save', '3600 1')
    rmSync(inTheWay, { force: true })
    mkdirSync(join(inTheWay, 'x'), { recursive: true })
    await save(false)
    await sleep(TROUBLE_MS)
    rmSync(inTheWay, { recursive: true })
    await save(true)
  },
  'has no room for connections': async () => {
    const clients = /connected_clients:(\d+)/.exec(await ask('INFO', 'clients'))[1]
    const admin = connect(server.port, '127.0.0.1')
    admin.on('data', () => {}).write(`CONFIG SET maxclients ${Number(clients) + 1}\r\nCLIENT KILL TYPE pubsub\r\n`)
    const leave = occupy(50)
    await sleep(TROUBLE_MS)
    admin.write('CONFIG SET maxclients 10000\r\n')
    leave()
    await until(() => ask('PING').catch(() => false), 'there is room')
    admin.destroy()
  },
  'hangs up on whoever it lets in': () => flood('CLIENT KILL TYPE pubsub'),
  'forgets its functions and scripts over and over': () => flood('FUNCTION FLUSH\r\nSCRIPT FLUSH'),
}

test.each(Object.entries(troubles))('a server that %s', async (what, trouble) => {
  const config = { key: what, limit: LIMIT, limitExpire: 8, limitTimeout: 20 }
  const crowd = startCrowd({ options: { url: server.url }, config, tasks: 5, work: [1, 20] })
  try {
    const processes = [crowd.join(), crowd.join(), crowd.join({ work: [3000, 3000], tasks: 1 })]
    await until(() => crowd.written() > 8_000, 'they are at work')
    await trouble()
    const before = crowd.written()
    await until(() => crowd.written() > before + 4_000, 'they go on')
    for (const { errors, full, lost, reconnects } of await Promise.all(processes.map((one) => one.finish()))) {
      expect({ errors, full, lost }).toEqual({ errors: [], full: 0, lost: [] })
      // At most two in a second, and those that come at once.
      expect(reconnects).toBeLessThan(30)
    }
    expect(judge(crowd.events(), LIMIT)).toEqual({ wrong: [], most: LIMIT, left: 0 })
    await until(async () => {
      const { held, waiting } = await witness.status(what)
      return held === 0 && waiting === 0
    }, 'nothing is held, nobody waits')
  } finally {
    crowd.end()
  }
})
