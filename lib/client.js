'use strict'

// Finds the library of a user's client, and its adapter: the interface that is the same for all client libraries.
//
// An adapter has `address` (without password), `isCluster`, `attach(link)`, `detach(link)`, `busy()`, `send(commands,
// onAnswer)` and `subscribe(channel, onPush, onEnd)`. A client that can't be used is refused here, with a ConfigError,
// before anything is sent. A client keeps its adapter for life: its listeners are never removed.

const { ConfigError } = require('./errors.js')
const { Told, conceal } = require('./told.js')
const { IoredisAdapter } = require('./client/ioredis.js')
const { NodeRedisAdapter } = require('./client/node-redis.js')

const EXPECTED = 'a client of ioredis (Redis or Cluster) or of node-redis 5 or newer (createClient)'

const adapters = new WeakMap()

const has = (value, ...names) => names.every((name) => typeof value[name] === 'function')

/** The adapter's class for a client; undefined if it is no known client. */
function kindOf(client) {
  if (client === null || typeof client !== 'object' || !has(client, 'on', 'duplicate')) return undefined
  if (has(client, 'callBuffer', 'pipeline') && typeof client.status === 'string') return IoredisAdapter
  if (has(client, 'sendCommand', 'withTypeMapping', 'unref') && typeof client.isReady === 'boolean')
    return NodeRedisAdapter
  return undefined
}

/** The client, or a ConfigError if it can't be used. */
function checkClient(client) {
  const kind = kindOf(client)
  if (kind === undefined) throw new ConfigError('client', conceal(client), EXPECTED)
  if (kind.prefixOf(client)) {
    throw new ConfigError(
      'client',
      new Told(`one with the keyPrefix ${JSON.stringify(kind.prefixOf(client))}`),
      'a client without a keyPrefix; the limiter has an option keyPrefix of its own',
    )
  }
  return client
}

function adapterOf(client) {
  let adapter = adapters.get(client)
  if (adapter === undefined) {
    adapter = new (kindOf(client))(client)
    adapters.set(client, adapter)
  }
  return adapter
}

module.exports = { checkClient, adapterOf }
