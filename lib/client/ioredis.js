'use strict'

// The adapter for an ioredis client, a Redis or a Cluster.
//
// Commands go as pipelines, with `callBuffer`, so that names keep every byte. A pipeline is one write, auto-pipelining
// doesn't combine it with others, and in a cluster its keys decide where it goes. The client's `error` events aren't
// listened to: with a listener, ioredis would no longer print them for users who have none.

const { isFromServer } = require('../resp.js')
const { blockingName, busyWith } = require('./busy.js')
const { Links } = require('./links.js')

const TO_KEYS = -1
const TO_ALL = -2
const FIRST_KEY = 3 // EVALSHA, hash, number of keys, key

const CLOSED = 'the ioredis client has lost its connection'
const ENDED = 'the ioredis client was closed'

class IoredisAdapter {
  #client
  #links = new Links()

  constructor(client) {
    this.#client = client
    this.isCluster = client.isCluster === true
    this.address = addressOf(client)
    client.on('ready', () => this.#links.ready())
    client.on('close', () => this.#links.down(CLOSED))
    client.on('end', () => this.#links.ended(ENDED))
  }

  static prefixOf({ options }) {
    return options?.keyPrefix || options?.redisOptions?.keyPrefix
  }

  attach(link) {
    this.#links.add(link)
    const { status } = this.#client
    if (status === 'ready') link.ready()
    else if (status === 'end') link.ended(ENDED)
    // A client that connects lazily does so for its first command. Its events tell when that fails.
    else if (status === 'wait') this.#client.connect().catch(() => {})
  }

  /** Why commands wouldn't be answered soon now; undefined if no reason is known. */
  busy() {
    const servers = this.isCluster ? this.#client.nodes('master') : [this.#client]
    for (const { commandQueue } of servers) {
      const sent = commandQueue?.peekAt?.(0)?.command
      const name = sent && blockingName(sent.name, sent.args)
      if (name !== undefined) return busyWith('ioredis', name)
    }
    return undefined
  }

  detach(link) {
    this.#links.delete(link)
  }

  send(commands, onAnswer) {
    const batches = new Map()
    for (const [number, to, words] of commands) {
      if (to === TO_ALL) this.#sendToAll(number, words, onAnswer)
      else this.#batchFor(batches, to, words).push([number, words])
    }
    for (const [redis, rows] of batches.values()) this.#sendBatch(redis, rows, onAnswer)
  }

  async subscribe(channel, onPush, onEnd) {
    const server = this.isCluster ? this.#anyMember() : this.#client
    if (server === undefined) throw new Error(CLOSED)
    const subscriber = server.duplicate({ lazyConnect: true, retryStrategy: null, enableAutoPipelining: false })
    // `connect` or `subscribe` rejects with the reason; without a listener ioredis would print it too.
    subscriber.on('error', () => {})
    subscriber.on('connect', () => subscriber.stream.unref())
    subscriber.on('messageBuffer', (_, payload) => onPush(payload))
    try {
      await subscriber.connect()
      await subscriber.subscribe(channel)
    } catch (error) {
      subscriber.disconnect()
      throw error
    }
    subscriber.on('end', () => onEnd('the connection was closed'))
    return () => subscriber.disconnect()
  }

  // Every member gets every publication, so any will do. After a failover ioredis may know no master, and refreshes its
  // list only when it's used.
  #anyMember() {
    return this.#client.nodes('master')[0] ?? this.#client.nodes('all')[0]
  }

  // One pipeline for a client; in a cluster one for each group, because its keys decide where it goes.
  #batchFor(batches, to, words) {
    const name = !this.isCluster ? '' : to === TO_KEYS ? words[FIRST_KEY] : to
    let batch = batches.get(name)
    if (batch === undefined) {
      batch = [to === TO_KEYS ? this.#client : this.#server(to), []]
      batches.set(name, batch)
    }
    return batch[1]
  }

  #server(place) {
    if (!this.isCluster) return this.#client
    const masters = this.#client.nodes('master')
    return masters[Math.min(place, masters.length - 1)] ?? this.#client
  }

  async #sendBatch(redis, rows, onAnswer) {
    const pipeline = redis.pipeline()
    for (const [, words] of rows) pipeline.callBuffer(...words)
    try {
      const results = await pipeline.exec()
      for (const [at, [error, value]] of results.entries()) onAnswer(rows[at][0], error ?? value)
    } catch (error) {
      for (const [number] of rows) onAnswer(number, error)
    }
  }

  // Servers of a cluster that can't be reached are left out: others are asked about their keys.
  #sendToAll(number, words, onAnswer) {
    const masters = this.isCluster ? this.#client.nodes('master') : []
    const servers = masters.length > 0 ? masters : [this.#client]
    const answers = servers.map((redis) =>
      redis
        .pipeline()
        .callBuffer(...words)
        .exec(),
    )
    Promise.allSettled(answers).then((all) => {
      const replies = all.map(({ reason, value }) => reason ?? value[0][0] ?? value[0][1])
      const heard = replies.filter((reply) => !(reply instanceof Error) || isFromServer(reply))
      onAnswer(number, heard.length > 0 ? heard : (replies[0] ?? new Error(CLOSED)))
    })
  }
}

function addressOf({ isCluster, options }) {
  if (isCluster) return 'the cluster of an ioredis client'
  const { path, host, port, db } = options
  return path ? `ioredis at ${path}` : `ioredis at ${host}:${port}/${db ?? 0}`
}

module.exports = { IoredisAdapter }
