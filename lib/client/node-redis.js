'use strict'

// The wire over a client of node-redis (`createClient`).
//
// Commands go as they are, in one turn, which the library writes together; replies come as buffers, so that names keep
// every byte. Errors are the library's own to emit: a listener for them would hide from users that they have none.

const { Links } = require('./links.js')

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

  leave(link) {
    this.#links.delete(link)
  }

  send(errands, settle) {
    for (const [number, to, words] of errands) {
      const answer = to < -1 ? (reply) => [reply] : (reply) => reply
      this.#client.sendCommand(words, OPTIONS).then(
        (reply) => settle(number, answer(reply)),
        (error) => settle(number, error),
      )
    }
  }

  async listen(channel, heard, deaf) {
    const { socket } = this.#client.options
    const subscriber = this.#client.duplicate({ socket: { ...socket, reconnectStrategy: false } })
    // Why it can't connect is what `connect` or `subscribe` rejects with; without a listener it would be thrown.
    subscriber.on('error', () => {})
    subscriber.unref()
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

function addressOf({ socket, database } = {}) {
  const place = socket?.path ?? `${socket?.host ?? 'localhost'}:${socket?.port ?? 6379}`
  return `node-redis at ${place}/${database ?? 0}`
}

module.exports = { NodeRedisWire }
