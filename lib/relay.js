'use strict'

// Links of the core over clients that users bring: its commands go to a client's wire, what comes back goes to the
// core.
//
// Knows neither the protocol nor a client library: the core makes the commands and reads the answers, client.js finds
// the wire. Answers of one turn go down together. A link's end is told once, and nothing is sent before the client is
// ready.

const { wireOf } = require('./client.js')
const { isFromServer, resp } = require('./resp.js')
const { clearTimeout, microtask, setTimeout } = require('./timers.js')

const SILENCE_MS = 500 // that a client may be silent for at its start before it's asked why

/** One link: `tell(word, bytes)` reaches its end in the core. */
class Link {
  #wire
  #tell
  #isReady = false
  #isOver = false
  #stop = null // ends the subscription
  #answers = ''
  #count = 0
  #silence // a timer, until the first answer

  constructor(wire, tell) {
    this.#wire = wire
    this.#tell = tell
  }

  /** The wire says how it is. */
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

  carry(errands) {
    if (this.#isOver) return
    if (this.#silence === undefined) {
      const busy = this.#wire.busy()
      if (busy !== undefined) return this.down(busy)
      this.#silence = setTimeout(() => this.#explain(), SILENCE_MS)
      this.#silence.unref()
    }
    this.#wire.send(errands, (number, reply) => this.#settle(number, reply))
  }

  listen(channel) {
    const heard = (payload) => this.#isOver || this.#tell('Push', payload)
    const deaf = (why) => this.#isOver || this.#tell('Deaf', Buffer.from(why))
    this.#wire.listen(channel, heard, deaf).then(
      (stop) => {
        if (this.#isOver) return stop()
        this.#stop = stop
        this.#tell('Listens')
      },
      (error) => deaf(error.message),
    )
  }

  async #explain() {
    const why = (await this.#wire.explain?.()) ?? this.#wire.busy()
    if (why !== undefined) this.down(why)
  }

  close() {
    this.#isOver = true
    clearTimeout(this.#silence)
    this.#wire.leave(this)
    this.#stop?.()
  }

  #end(word, why) {
    if (this.#isOver) return
    // What was answered before the end still counts.
    this.#flush()
    this.#tell(word, Buffer.from(why))
    this.close()
  }

  // An error that isn't the server's leaves it open what became of the command: that is for the next link to find out.
  #settle(number, reply) {
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

const NO_PORT = { tell() {} }

/** The links of one environment. `port` is the core's: see border.js; `codes` are those of codes.js. */
class Relay {
  #port
  #codes
  #links = new Map()
  #clients = new Map() // number → { wire, users }
  #numbers = new Map() // wire → number

  constructor(port, codes) {
    this.#port = port
    this.#codes = codes
  }

  /** The number of a client in the core, which is one and the same until everybody who uses it has let it go. */
  use(client) {
    const wire = wireOf(client)
    let number = this.#numbers.get(wire)
    if (number === undefined) {
      number = this.#port.bring(wire.address, wire.isCluster)
      this.#numbers.set(wire, number)
      this.#clients.set(number, { wire, users: 0 })
    }
    this.#clients.get(number).users++
    return number
  }

  letGo(number) {
    const known = this.#clients.get(number)
    if (--known.users > 0) return
    this.#clients.delete(number)
    this.#numbers.delete(known.wire)
    this.#port.takeAway(number)
  }

  /** The port has no client any more. Links that still stand are closed when the core says so. */
  end() {
    this.#port = NO_PORT
  }

  /** An order of the core's. */
  obey(client, link, order, text) {
    switch (this.#codes.order.names[order]) {
      case 'Open':
        return this.#open(this.#clients.get(client)?.wire, link)
      case 'Carry':
        return this.#links.get(link)?.carry(JSON.parse(text))
      case 'Listen':
        return this.#links.get(link)?.listen(text)
      case 'Close': {
        this.#links.get(link)?.close()
        return this.#links.delete(link)
      }
    }
  }

  #open(wire, link) {
    const tell = (word, bytes = Buffer.alloc(0)) => this.#port.tell(link, this.#codes.word[word], bytes)
    if (wire === undefined) return tell('Ended', Buffer.from('no limiter uses the client any more'))
    const opened = new Link(wire, tell)
    this.#links.set(link, opened)
    wire.attend(opened)
  }
}

module.exports = { Relay }
