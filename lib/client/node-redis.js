'use strict'

// The wire over a client of node-redis (`createClient`).
//
// Commands go as they are, in one turn, which the library writes together; replies come as buffers, so that names keep
// every byte. Errors are the library's own to emit: a listener for them would hide from users that they have none.

const { blockingName, busyWith } = require('./busy.js')
const { Links } = require('./links.js')
const { clearTimeout, setTimeout } = require('../timers.js')

const PATIENCE_MS = 1000

const CLOSED = 'the node-redis client has lost its connection'
const ENDED = 'the node-redis client was closed'

const SIMPLE_STRING = 43
const BLOB_STRING = 36
const VERBATIM_STRING = 61

// Without the library's own time-out: a call that is given up silently would hide that its outcome is unclear.
const OPTIONS = {
  typeMapping: { [SIMPLE_STRING]: Buffer, [BLOB_STRING]: Buffer, [VERBATIM_STRING]: Buffer },
  timeout: undefined,
}

class NodeRedisWire {
  #client
  #links = new Links()
  #hasEnded = false
  #unanswered = 0
  #busy // what is said while commands from before are unanswered

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
  attend(link) {
    this.#links.add(link)
    if (this.#client.isReady) link.ready()
    else if (this.#hasEnded) link.ended(ENDED)
  }

  /** Why nothing that is sent now is answered soon; undefined if nothing is known to be in its way. */
  busy() {
    return this.#busy
  }

  /**
   * Nothing was answered for some time. The library doesn't show what its connection is busy with: the server is asked
   * over another one, and if it answers there, it's the client's own that doesn't.
   */
  async explain() {
    const subject = this.#duplicate()
    const bound = setTimeout(() => subject.destroy(), PATIENCE_MS).unref()
    try {
      await subject.connect()
      const ask = (...words) => subject.sendCommand(words).catch(() => '')
      const [list, own] = [String(await ask('CLIENT', 'LIST')), String(await ask('CLIENT', 'INFO'))]
      await subject.sendCommand(['PING'])
      if (this.#unanswered > 0) this.#busy = busyWith('node-redis', blockedLike(own, list))
    } catch {
      // The server doesn't answer either.
    } finally {
      clearTimeout(bound)
      if (subject.isOpen) subject.destroy()
    }
    return this.#busy
  }

  leave(link) {
    this.#links.delete(link)
  }

  send(errands, settle) {
    for (const [number, to, words] of errands) {
      const answer = to < -1 ? (reply) => [reply] : (reply) => reply
      this.#unanswered++
      this.#client.sendCommand(words, OPTIONS).then(
        (reply) => this.#answered(() => settle(number, answer(reply))),
        (error) => this.#answered(() => settle(number, error)),
      )
    }
  }

  #answered(settle) {
    if (--this.#unanswered === 0) this.#busy = undefined
    settle()
  }

  #duplicate() {
    const { socket } = this.#client.options
    const other = this.#client.duplicate({ socket: { ...socket, reconnectStrategy: false } })
    // Why it can't connect is what `connect` rejects with; without a listener it would be thrown.
    other.on('error', () => {})
    other.unref()
    return other
  }

  async listen(channel, heard, deaf) {
    const subscriber = this.#duplicate()
    try {
      await subscriber.connect()
      await subscriber.subscribe(channel, heard, true)
    } catch (error) {
      subscriber.destroy()
      throw error
    }
    for (const end of ['end', 'terminated']) subscriber.on(end, () => deaf('the connection was closed'))
    return () => subscriber.destroy()
  }
}

/** The command in which another connection of the same machine and user is blocked, if the list shows just one. */
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

module.exports = { NodeRedisWire }
