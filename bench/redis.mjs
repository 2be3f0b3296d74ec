// A redis-server of the run's own: on a free port of this machine, without persistence, with a folder that goes with
// it.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ask, sleep } from './measure.mjs'

async function freePort() {
  const probe = createServer()
  await new Promise((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  return port
}

export async function startRedis() {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-bench-'))
  const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--dir', folder]
  const server = spawn(process.env.REDIS_SERVER_BIN ?? 'redis-server', args.map(String), { stdio: 'ignore' })
  const url = `redis://127.0.0.1:${port}`
  const stop = () => {
    server.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  for (let tries = 0; !(await ask(url, 'PING').catch(() => '')).includes('PONG'); tries++) {
    if (tries > 200) {
      stop()
      throw new Error('redis-server did not come up')
    }
    await sleep(50)
  }
  return { url, stop }
}
