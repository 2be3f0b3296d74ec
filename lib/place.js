'use strict'

// A limiter's server as traces and metrics name it: host, port and database number. The core decides where to connect.
// With Sentinel and Cluster it is the first server of the options, since the one in use changes. User names and
// passwords are never part of it.

const { adapterOf } = require('./client.js')

const PORTS = { sentinel: 26_379, other: 6379 }
const URL = /^([\w+]+):\/\/(?:[^/?#]*@)?([^/?#@]*)([^?#]*)(?:\?(.*))?$/s
const ADDRESS = /^(\[[\da-f:.%\w]+\]|[\w.-]+)(?::(\d{1,5}))?$/i

const NOWHERE = { serverAddress: undefined, serverPort: undefined, db: undefined }

/** `{ serverAddress, serverPort, db, clientName }` of what `readConnection` returned; undefined without a server. */
function placeOf(settings) {
  return { ...addressOf(settings), clientName: settings.clientName }
}

function addressOf({ url, host, port, path, db, cluster, sentinel, client }) {
  if (client !== undefined) return ofClient(adapterOf(client).address)
  const said = url === undefined ? {} : ofUrl(url)
  if (said.isMemory) return NOWHERE
  const number = db ?? said.db ?? 0
  const socket = path ?? said.path
  if (socket !== undefined) return { serverAddress: socket, serverPort: undefined, db: number }
  const nodes = cluster ?? sentinel?.nodes
  const usual = sentinel !== undefined || said.isSentinel ? PORTS.sentinel : PORTS.other
  const found = nodes === undefined ? { address: host ?? said.address, port: port ?? said.port } : ofNode(nodes[0])
  return { serverAddress: found.address ?? '127.0.0.1', serverPort: found.port ?? usual, db: number }
}

function ofUrl(url) {
  const [, scheme, authority, path, query] = URL.exec(url) ?? []
  if (scheme === undefined) return { isMemory: /^memory:/i.test(url) }
  const kind = scheme.toLowerCase()
  const parameters = new URLSearchParams(query)
  const db = (text) => (/^\d+$/.test(text ?? '') ? Number(text) : undefined)
  if (kind === 'memory') return { isMemory: true }
  if (kind.endsWith('unix')) return { path: decoded(path), db: db(parameters.get('db')) }
  return {
    ...ofNode(authority.split(',')[0]),
    db: db(path.split('/').at(-1)) ?? db(parameters.get('db')),
    isSentinel: kind.endsWith('sentinel'),
  }
}

function ofNode(text) {
  const [, address, port] = ADDRESS.exec(text) ?? []
  return { address: address?.replace(/^\[|\]$/g, ''), port: port === undefined ? undefined : Number(port) }
}

// As the adapters write it: `ioredis at host:port/db`.
function ofClient(text) {
  const [, place, db] = / at (.*?)(?:\/(\d+))?$/.exec(text) ?? []
  if (place === undefined) return NOWHERE
  const { address = place, port } = ofNode(place)
  return { serverAddress: address, serverPort: port, db: Number(db ?? 0) }
}

function decoded(path) {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

module.exports = { placeOf }
