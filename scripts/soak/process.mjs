// A worker of a day, seen from the day: worker.mjs in a process of its own that may be killed, stopped, and started
// again under the same name. Each life has a file of its own.
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { now } from './moment.mjs'
import { within } from './server.mjs'

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url))

export class Worker {
  #settings
  #folder
  #network
  #env
  #child
  #asked = new Map()
  #lastCall = 0
  #stop
  lives = []
  stops = []

  constructor(settings, folder, network, env) {
    this.name = settings.name
    this.#settings = settings
    this.#folder = folder
    this.#network = network
    this.#env = env
  }

  start() {
    const file = join(this.#folder, `${this.name}-${this.lives.length + 1}.jsonl`)
    const life = { file, startedAt: now(), output: '' }
    const settings = { ...this.#settings, seed: this.#settings.seed + this.lives.length, file }
    const env = { ...process.env, ...this.#env }
    const child = fork(WORKER, [JSON.stringify(settings)], { execArgv: ['--expose-gc'], silent: true, env })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        life.output = (life.output + text).slice(-4_000)
      })
    }
    life.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        life.exit = code ?? signal
        this.#network.forget(child.pid)
        for (const { reject } of this.#asked.values()) reject(new Error(`${this.name} has ended with ${life.exit}`))
        this.#asked.clear()
        resolve(life.exit)
      })
    })
    child.on('message', ({ id, value, error }) => {
      const asked = this.#asked.get(id)
      this.#asked.delete(id)
      if (error) asked?.reject(Object.assign(new Error(error.message), { code: error.code }))
      else asked?.resolve(value)
    })
    this.lives.push(life)
    this.#child = child
    this.#network.know(child.pid, this.name)
  }

  get life() {
    return this.lives.at(-1)
  }

  call(op, ...args) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastCall
      this.#asked.set(id, { resolve, reject })
      this.#child.send({ id, op, args }, (error) => error && reject(error))
    })
  }

  callWithin(ms, op, ...args) {
    return within(ms, this.call(op, ...args), `${this.name}: ${op}`)
  }

  freeze() {
    if (this.#stop || this.life.exit !== undefined) return
    this.#stop = { from: now(), to: Number.POSITIVE_INFINITY }
    this.stops.push(this.#stop)
    this.#child.kill('SIGSTOP')
  }

  thaw() {
    if (!this.#stop) return
    this.#stop.to = now()
    this.#stop = undefined
    this.#child.kill('SIGCONT')
  }

  /** kill -9, and it's gone. */
  async kill() {
    this.#child.kill('SIGKILL')
    await this.life.ended
    this.life.killedAt = now()
    if (this.#stop) this.#stop.to = now()
    this.#stop = undefined
  }

  /** It has ended by itself within the bound; else it's killed. */
  async gone(ms) {
    try {
      return await within(ms, this.life.ended, `${this.name} ends`)
    } catch (error) {
      await this.kill()
      throw error
    }
  }
}
