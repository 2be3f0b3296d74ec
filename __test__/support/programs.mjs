// Runs small programs of the documentation as a user would: each a Node process of its own, in this package (so that
// `concurrency-limit` means this package, through its exports), against a Redis of its own.
//
// Knows nothing of what the programs do.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** One inline command to a local Redis; resolves to the first piece of its answer. */
export function ask(port, command) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`))
    socket.once('data', (data) => {
      socket.destroy()
      resolve(data.toString())
    })
    socket.once('error', reject)
  })
}

/** The server's uptime in whole seconds; -1 while it doesn't answer. */
async function uptime(port) {
  const answer = await ask(port, 'INFO server').catch(() => '')
  return Number(/uptime_in_seconds:(\d+)/.exec(answer)?.[1] ?? -1)
}

/**
 * A redis-server: `{ url, port, pid, stop() }`. It has been up for long enough to grant at once, or for `age` seconds;
 * `port` is a free one unless said, `args` and `env` go to the server; `binary` is another server than the usual one.
 */
export async function startRedis({ port: wanted, args: more = [], env = {}, age = 3, binary } = {}) {
  const port = wanted ?? (await freePort())
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-'))
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder, ...more]
  const child = spawn(binary ?? process.env.REDIS_SERVER_BIN ?? 'redis-server', args, {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  })
  const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  const stop = async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  const bound = Date.now() + 15_000
  while ((await uptime(port)) < age) {
    if (Date.now() > bound) {
      await stop()
      throw new Error('redis-server did not come up')
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { url: `redis://127.0.0.1:${port}`, port, pid: child.pid, stop }
}

/** What lets a test use DEBUG: before Redis 7 it may anyway. */
export function debugArgs() {
  const { stdout } = spawnSync(process.env.REDIS_SERVER_BIN ?? 'redis-server', ['--version'], { encoding: 'utf8' })
  return Number(/v=(\d+)/.exec(stdout)?.[1]) < 7 ? [] : ['--enable-debug-command', 'local']
}

/**
 * Runs `node ...args` with `source` as its standard input, in this package or in `cwd`; resolves to `{ code, output }`,
 * output being both streams.
 */
export function runNode(args, { source = '', env = {}, bound = 20_000, cwd = ROOT } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, env: { ...process.env, ...env }, timeout: bound })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    }
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code: code ?? signal, output }))
    child.stdin.end(source)
  })
}
