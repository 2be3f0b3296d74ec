'use strict'

// The adapter for a client of node-redis (`createClient`).
//
// Commands are sent one by one in one turn, and the library writes them together; replies come as buffers, so that
// names keep every byte. The client's `error` events aren't listened to: users must notice when they have no listener.

const { blockingName, busyWith } = require('./busy.js')
const { Links } = require('./links.js')
const { clearTimeout, setTimeout } = require('../timers.js')

const PATIENCE_MS = 1000

const CLOSED = 'the node-redis client has lost its connection'
const ENDED = 'the node-redis client was closed'

const SIMPLE_STRING = 43
const BLOB_STRING = 36
const VERBATIM_STRING = 61

// Without the library's own time-out: after it a command's outcome would be unclear without anyone knowing.
const OPTIONS = {
  typeMapping: { [SIMPLE_STRING]: Buffer, [BLOB_STRING]: Buffer, [VERBATIM_STRING]: Buffer },
  timeout: undefined,
}

class NodeRedisAdapter {
  #client
  #links = new Links()
  #hasEnded = false
  #unanswered = 0
  #busy // the reason given while commands from before are unanswered

  constructor(client) {
    this.#client = client
    this.isCluster = false
    this.address = addressOf(client.options)
    client.on('connect', () => {
      this.#hasEnded = false
    })
    client.on('ready', () => this.#links.ready())
    client.on('reconnecting', () => this.#links.down(CLOSED))
    for (const end of ['end', 'terminated']) {
      client.on(end, () => {
        this.#hasEnded = true
        this.#links.ended(ENDED)
      })
    }
  }

  static prefixOf({ options }) {
    return options?.keyPrefix
  }

  // A client that isn't connected yet is connected by its owner.
  attach(link) {
    this.#links.add(link)
    if (this.#client.isReady) link.ready()
    else if (this.#hasEnded) link.ended(ENDED)
  }

  /** Why commands wouldn't be answered soon now; undefined if no reason is known. */
  busy() {
    return this.#busy
  }

  /**
   * Called when nothing was answered for some time. The library doesn't tell what its connection is doing, so the
   * server is asked over another connection. If it answers there, the client's own connection is blocked.
   */
  async explain() {
    const probe = this.#duplicate()
    const bound = setTimeout(() => probe.destroy(), PATIENCE_MS).unref()
    try {
      await probe.connect()
      const ask = (...words) => probe.sendCommand(words).catch(() => '')
      const [list, own] = [String(await ask('CLIENT', 'LIST')), String(await ask('CLIENT', 'INFO'))]
      await probe.sendCommand(['PING'])
      if (this.#unanswered > 0) this.#busy = busyWith('node-redis', blockedLike(own, list))
    } catch {
      // The server doesn't answer either.
    } finally {
      clearTimeout(bound)
      if (probe.isOpen) probe.destroy()
    }
    return this.#busy
  }

  detach(link) {
    this.#links.delete(link)
  }

  send(commands, onAnswer) {
    for (const [number, to, words] of commands) {
      const answer = to < -1 ? (reply) => [reply] : (reply) => reply
      this.#unanswered++
      this.#client.sendCommand(words, OPTIONS).then(
        (reply) => this.#answered(() => onAnswer(number, answer(reply))),
        (error) => this.#answered(() => onAnswer(number, error)),
      )
    }
  }

  #answered(pass) {
    if (--this.#unanswered === 0) this.#busy = undefined
    pass()
  }

  #duplicate() {
    const { socket } = this.#client.options
    const other = this.#client.duplicate({ socket: { ...socket, reconnectStrategy: false } })
    // `connect` rejects with the reason; without a listener the event would be thrown.
    other.on('error', () => {})
    other.unref()
    return other
  }

  async subscribe(channel, onPush, onEnd) {
    const subscriber = this.#duplicate()
    try {
      await subscriber.connect()
      await subscriber.subscribe(channel, onPush, true)
    } catch (error) {
      subscriber.destroy()
      throw error
    }
    for (const end of ['end', 'terminated']) subscriber.on(end, () => onEnd('the connection was closed'))
    return () => subscriber.destroy()
  }
}

/** The command that blocks another connection of the same machine and user, if the list shows exactly one. */
function blockedLike(own, list) {
  const of = (line, name) => new RegExp(` ${name}=(\\S*)`).exec(` ${line}`)?.[1]
  const host = (line) => of(line, 'addr')?.replace(/:\d+$/, '')
  const isLike = (line) => host(line) === host(own) && ['name', 'user', 'db'].every((n) => of(line, n) === of(own, n))
  const blocked = list.split('\n').filter((line) => of(line, 'flags')?.includes('b') && isLike(line))
  const names = new Set(blocked.map((line) => of(line, 'cmd')))
  const [name] = names
  return names.size === 1 ? (blockingName(name) ?? `${name.toUpperCase()} BLOCK`) : undefined
}

function addressOf({ socket, database } = {}) {
  const place = socket?.path ?? `${socket?.host ?? 'localhost'}:${socket?.port ?? 6379}`
  return `node-redis at ${place}/${database ?? 0}`
}

module.exports = { NodeRedisAdapter }
