// Primaries with replicas, and sentinels beside them, each a process of its own on a free port.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { redis, startRedis, until } from './helpers.mjs'
import { freePort } from './programs.mjs'

/** A replica of the server on `port`, in step with it. */
export async function startReplica(port, args = []) {
  const fast = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1']
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(port), ...fast, ...args], age: 0 })
  await inStep(replica.port)
  return replica
}

/** Resolves when the replica on `port` follows its primary. */
export function inStep(port) {
  const linked = async () => /master_link_status:up/.test(await redis(port, 'INFO', 'replication'))
  return until(linked, 'the replica follows')
}

/** What the server on `port` says of itself: master or slave; undefined while it doesn't answer. */
export async function roleOf(port) {
  const role = await redis(port, 'ROLE').catch(() => undefined)
  return role?.[0]
}

/**
 * A sentinel that watches the server on `port` as `name` and takes it for dead after a second: `{ port, pid, stop() }`.
 */
export async function startSentinel(name, watched, quorum, lines = []) {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-sentinel-'))
  const file = join(folder, 'sentinel.conf')
  const config = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor ${name} 127.0.0.1 ${watched} ${quorum}`,
    `sentinel down-after-milliseconds ${name} 1000`,
    `sentinel failover-timeout ${name} 5000`,
    ...lines,
  ]
  writeFileSync(file, `${config.join('\n')}\n`)
  const child = spawn(process.env.REDIS_SERVER_BIN ?? 'redis-server', [file, '--sentinel'], { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  const stop = async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  return { port, pid: child.pid, stop }
}

/** Resolves when every sentinel has found all the others and `replicas` replicas. */
export function acquainted(sentinels, name, replicas) {
  const knows = async ({ port }) => {
    const fields = await redis(port, 'SENTINEL', 'MASTER', name).catch(() => [])
    const field = (key) => Number(fields[fields.indexOf(key) + 1])
    return field('num-other-sentinels') === sentinels.length - 1 && field('num-slaves') === replicas
  }
  return until(async () => (await Promise.all(sentinels.map(knows))).every(Boolean), 'the sentinels met', 30_000)
}

/**
 * What a sentinel that was cut off says: the server on `port` is the master, since `epoch` if it tells that. A real one
 * can't be kept from learning better. `{ node, asked(), stop() }`
 */
export async function startStaleSentinel(port, epoch) {
  const text = (word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`
  const list = (...words) => `*${words.length}\r\n${words.map((word) => text(String(word))).join('')}`
  let asked = 0
  const sockets = new Set()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      for (const command of data.toString().split(/(?=^\*\d)/m)) {
        if (command.includes('GET-MASTER-ADDR-BY-NAME')) {
          asked++
          socket.write(list('127.0.0.1', port))
        } else if (command.includes('HELLO')) socket.write('-NOPROTO not here\r\n')
        else if (command.includes('MASTER') && epoch !== undefined) socket.write(list('config-epoch', epoch))
        else socket.write('+OK\r\n')
      }
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    node: `127.0.0.1:${server.address().port}`,
    asked: () => asked,
    stop: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}
