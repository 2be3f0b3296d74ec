'use strict'

// Which client a user has brought, and its wire: the one face that clients of all libraries have here.
//
// A wire has `address` (without password), `isCluster`, `attend(link)` and `leave(link)`, `send(errands, settle)` and
// `listen(channel, heard, deaf)`. What can't carry the limiter is refused here, with a ConfigError, before anything is
// asked of it. A client has one wire for its whole life: its listeners are never taken off again.

const { ConfigError } = require('./errors.js')
const { Told, conceal } = require('./told.js')
const { IoredisWire } = require('./client/ioredis.js')
const { NodeRedisWire } = require('./client/node-redis.js')

const EXPECTED = 'a client of ioredis (Redis or Cluster) or of node-redis 5 or newer (createClient)'

const wires = new WeakMap()

const has = (value, ...names) => names.every((name) => typeof value[name] === 'function')

/** The kind of wire that a client needs; undefined if it's no client that is known. */
function kindOf(client) {
  if (client === null || typeof client !== 'object' || !has(client, 'on', 'duplicate')) return undefined
  if (has(client, 'callBuffer', 'pipeline') && typeof client.status === 'string') return IoredisWire
  if (has(client, 'sendCommand', 'withTypeMapping', 'unref') && typeof client.isReady === 'boolean')
    return NodeRedisWire
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

function wireOf(client) {
  let wire = wires.get(client)
  if (wire === undefined) {
    wire = new (kindOf(client))(client)
    wires.set(client, wire)
  }
  return wire
}

module.exports = { checkClient, wireOf }
