// One server of a day, behind its gate: it may be killed and started again on the same port, empty or with what it
// saved.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { startRedis } from '../../__test__/support/helpers.mjs'
import { freePort } from '../../__test__/support/programs.mjs'

export const USER = 'app'
export const PASSWORD = 'a password'
const RIGHTS = ['on', `>${PASSWORD}`, '~*', '&*', '+@all']
const ANSWER_MS = 2_000

/** What the promise gives, or a rejection when it takes longer. */
export function within(ms, promise, what) {
  let timer
  const over = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)
  })
  return Promise.race([promise, over]).finally(() => clearTimeout(timer))
}

export class Server {
  #network
  #args
  #binary
  #env
  #folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-soak-'))
  #running
  #asker

  /** @param settings `name`, `network`, `port` (a free one unless said), `args` by its gate's port, `binary`, `env` */
  static async make({ name, network, port, args = () => [], binary, env }) {
    const server = new Server()
    server.name = name
    server.#network = network
    server.port = port ?? (await freePort())
    server.gate = await network.gate(name)
    server.gate.lead(server.port)
    server.#args = args(server)
    server.#binary = binary
    server.#env = env
    return server
  }

  get pid() {
    return this.#running?.pid
  }

  /** Starts it with what its folder has, after `more` has been added to its arguments. */
  async start(more = []) {
    const user = ['--user', USER, ...RIGHTS]
    const args = [...this.#args, ...more, '--dir', this.#folder, '--dbfilename', 'saved.rdb', ...user]
    this.#running = await startRedis({ port: this.port, age: 0, args, binary: this.#binary, env: this.#env })
    this.#network.know(this.pid, this.name)
    const once = { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, commandTimeout: ANSWER_MS }
    this.#asker = new Redis(this.port, '127.0.0.1', { ...once, retryStrategy: () => 50 }).on('error', () => {})
  }

  /** One command to it, past its gate. */
  ask(...words) {
    if (this.pid === undefined) return Promise.reject(new Error(`${this.name} isn't running`))
    return this.#asker.call(...words)
  }

  async kill() {
    this.#asker?.disconnect()
    if (this.pid === undefined) return
    const running = this.#running
    this.#running = undefined
    await running.stop()
    this.#network.forget(running.pid)
  }

  freeze() {
    process.kill(this.pid, 'SIGSTOP')
  }

  thaw() {
    process.kill(this.pid, 'SIGCONT')
  }

  /** What it has saved is gone. */
  forget() {
    rmSync(join(this.#folder, 'saved.rdb'), { force: true })
  }

  async end() {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
