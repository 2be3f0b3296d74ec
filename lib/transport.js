'use strict'

// Links of the core over clients of the user's: the core's commands go to a client's adapter, and what comes back goes
// to the core.
//
// Knows neither the protocol nor a client library: the core makes the commands and reads the answers, client.js finds
// the adapter. Answers of one turn go down together. A link's end is told once, and nothing is sent before the client
// is ready.

const { adapterOf } = require('./client.js')
const { isFromServer, resp } = require('./resp.js')
const { clearTimeout, microtask, setTimeout } = require('./timers.js')

const SILENCE_MS = 500 // without an answer after the first command, until the adapter is asked for the reason

/** One link: `tell(event, bytes)` reaches its end in the core. */
class Link {
  #adapter
  #tell
  #isReady = false
  #isOver = false
  #unsubscribe = null
  #answers = ''
  #count = 0
  #silence // a timer, until the first answer

  constructor(adapter, tell) {
    this.#adapter = adapter
    this.#tell = tell
  }

  // The adapter reports the state of its client.

  ready() {
    if (this.#isReady || this.#isOver) return
    this.#isReady = true
    this.#tell('Ready')
  }

  down(why) {
    this.#end('Down', why)
  }

  ended(why) {
    this.#end('Ended', why)
  }

  send(commands) {
    if (this.#isOver) return
    if (this.#silence === undefined) {
      const busy = this.#adapter.busy()
      if (busy !== undefined) return this.down(busy)
      this.#silence = setTimeout(() => this.#explain(), SILENCE_MS)
      this.#silence.unref()
    }
    this.#adapter.send(commands, (number, reply) => this.#answer(number, reply))
  }

  subscribe(channel) {
    const onPush = (payload) => this.#isOver || this.#tell('Push', payload)
    const onEnd = (why) => this.#isOver || this.#tell('NotSubscribed', Buffer.from(why))
    this.#adapter.subscribe(channel, onPush, onEnd).then(
      (unsubscribe) => {
        if (this.#isOver) return unsubscribe()
        this.#unsubscribe = unsubscribe
        this.#tell('Subscribed')
      },
      (error) => onEnd(error.message),
    )
  }

  async #explain() {
    const why = (await this.#adapter.explain?.()) ?? this.#adapter.busy()
    if (why !== undefined) this.down(why)
  }

  close() {
    this.#isOver = true
    clearTimeout(this.#silence)
    this.#adapter.detach(this)
    this.#unsubscribe?.()
  }

  #end(event, why) {
    if (this.#isOver) return
    // What was answered before the end still counts.
    this.#flush()
    this.#tell(event, Buffer.from(why))
    this.close()
  }

  // After an error that isn't the server's the outcome of the command is unclear: the next link has to find out.
  #answer(number, reply) {
    if (this.#isOver) return
    if (reply instanceof Error && !isFromServer(reply)) return this.down(reply.message)
    clearTimeout(this.#silence)
    if (this.#count++ === 0) microtask(() => this.#flush())
    this.#answers += `:${number}\r\n${resp(reply)}`
  }

  #flush() {
    if (this.#count === 0) return
    const answers = Buffer.from(`*${2 * this.#count}\r\n${this.#answers}`, 'latin1')
    this.#answers = ''
    this.#count = 0
    if (!this.#isOver) this.#tell('Answers', answers)
  }
}

const NO_PORT = { transportEvent() {} }

/** The client transports of one environment and their links. `port`: see bridge.js; `codes`: see codes.js. */
class Transports {
  #port
  #codes
  #links = new Map()
  #clients = new Map() // number → { adapter, users }
  #numbers = new Map() // adapter → number

  constructor(port, codes) {
    this.#port = port
    this.#codes = codes
  }

  /** The number of a client in the core. It stays the same until the last user has let go of it. */
  use(client) {
    const adapter = adapterOf(client)
    let number = this.#numbers.get(adapter)
    if (number === undefined) {
      number = this.#port.addTransport(adapter.address, adapter.isCluster)
      this.#numbers.set(adapter, number)
      this.#clients.set(number, { adapter, users: 0 })
    }
    this.#clients.get(number).users++
    return number
  }

  letGo(number) {
    const known = this.#clients.get(number)
    if (--known.users > 0) return
    this.#clients.delete(number)
    this.#numbers.delete(known.adapter)
    this.#port.removeTransport(number)
  }

  /** The port has no client any more. Links that are still open are closed when the core says so. */
  end() {
    this.#port = NO_PORT
  }

  /** Carries out an order of the core. */
  order(client, link, order, text) {
    switch (this.#codes.order.names[order]) {
      case 'Open':
        return this.#open(this.#clients.get(client)?.adapter, link)
      case 'Send':
        return this.#links.get(link)?.send(JSON.parse(text))
      case 'Subscribe':
        return this.#links.get(link)?.subscribe(text)
      case 'Close': {
        this.#links.get(link)?.close()
        return this.#links.delete(link)
      }
    }
  }

  #open(adapter, link) {
    const tell = (event, bytes = Buffer.alloc(0)) =>
      this.#port.transportEvent(link, this.#codes.transportEvent[event], bytes)
    if (adapter === undefined) return tell('Ended', Buffer.from('no limiter uses the client any more'))
    const opened = new Link(adapter, tell)
    this.#links.set(link, opened)
    adapter.attach(opened)
  }
}

module.exports = { Transports }
