'use strict'

// A connection to a server for questions that the limiter never asks (INFO, CONFIG GET …), in RESP2, one reply after
// the other. For the command line alone: it neither connects again nor sends anything twice.

const { connect } = require('node:net')
const tls = require('node:tls')

const TIMEOUT_MS = 5000
const MOST_BYTES = 64 * 1024 * 1024

class ReplyError extends Error {}

/** `{ value, next }` of the reply that begins at `at`; undefined while it isn't whole. An error is a value here. */
function parse(bytes, at) {
  const end = bytes.indexOf('\r\n', at)
  if (end < 0) return undefined
  const line = bytes.toString('utf8', at + 1, end)
  const next = end + 2
  switch (String.fromCharCode(bytes[at])) {
    case '-':
      return { value: new ReplyError(line), next }
    case ':':
      return { value: Number(line), next }
    case '$': {
      const size = Number(line)
      if (size < 0) return { value: null, next }
      return bytes.length < next + size + 2
        ? undefined
        : { value: bytes.toString('utf8', next, next + size), next: next + size + 2 }
    }
    case '*':
      return parseList(Number(line), bytes, next)
    default:
      return { value: line, next }
  }
}

function parseList(size, bytes, at) {
  const value = []
  let next = at
  while (value.length < size) {
    const item = parse(bytes, next)
    if (item === undefined) return undefined
    value.push(item.value)
    next = item.next
  }
  return { value: size < 0 ? null : value, next }
}

class Connection {
  #socket
  #waiting = []
  #bytes = Buffer.alloc(0)
  #broken = null

  /** To `{ host, port }` or `{ path }`, logged in; `tls` are Node's options or undefined. */
  static async open({ address, tls: secure, username, password, db = 0 }) {
    const connection = new Connection(secure ? tls.connect({ ...address, ...secure }) : connect(address))
    try {
      if (password !== undefined) await connection.ask('AUTH', ...(username ? [username] : []), password)
      if (db !== 0) await connection.ask('SELECT', db)
      else await connection.ask('PING')
      return connection
    } catch (error) {
      connection.close()
      throw error
    }
  }

  constructor(socket) {
    this.#socket = socket
    socket.on('data', (data) => this.#read(data))
    socket.on('error', (error) => this.#break(error))
    socket.on('close', () => this.#break(new Error('the server closed the connection')))
  }

  /** The answer to a command; rejects with ReplyError when the server refuses. */
  async ask(...args) {
    const value = await this.#await(() => {
      const parts = args.map((arg) => `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`)
      this.#socket.write(`*${args.length}\r\n${parts.join('')}`)
    })
    if (value instanceof ReplyError) throw value
    return value
  }

  /** What comes next without having been asked for: a message of a subscription. */
  next() {
    return this.#await(() => {})
  }

  close() {
    this.#socket.destroy()
  }

  #await(send) {
    if (this.#broken) return Promise.reject(this.#broken)
    return new Promise((resolve, reject) => {
      const late = () => this.#break(new Error(`no answer within ${TIMEOUT_MS / 1000} s`))
      this.#waiting.push({ resolve, reject, timer: setTimeout(late, TIMEOUT_MS) })
      send()
    })
  }

  #read(data) {
    this.#bytes = this.#bytes.length === 0 ? data : Buffer.concat([this.#bytes, data])
    if (this.#bytes.length > MOST_BYTES) return this.#break(new Error('the answer is too long'))
    let at = 0
    for (let reply = parse(this.#bytes, at); at < this.#bytes.length && reply; reply = parse(this.#bytes, at)) {
      at = reply.next
      const first = this.#waiting.shift()
      clearTimeout(first?.timer)
      first?.resolve(reply.value)
    }
    this.#bytes = this.#bytes.subarray(at)
  }

  #break(error) {
    this.#broken ??= error
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer)
      reject(this.#broken)
    }
    this.#socket.destroy()
  }
}

module.exports = { Connection, ReplyError }
