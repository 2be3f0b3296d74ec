'use strict'

// Connections to the servers that have the groups: the one that a URL names, the primary that sentinels name, or every
// master of a cluster.

const { isIP } = require('node:net')
const { Connection, ReplyError } = require('./connection.js')
const { placeOf } = require('./place.js')

const addressText = ({ host, port, path }) => path ?? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)

function unavailable(address, error) {
  const how = error instanceof ReplyError ? 'refused' : 'is not reachable'
  const message = `${addressText(address)} ${how}: ${error.message || error.code}`
  return Object.assign(new Error(message), { code: 'ERR_UNAVAILABLE' })
}

/** How to open a connection to an address, with the access that the place and the options name. */
function openerOf({ secure, username, password, db }, tls) {
  return async (address, access = { username, password, db }) => {
    const servername = tls?.servername ?? (isIP(address.host ?? '') ? undefined : address.host)
    const settings = secure || tls ? { ...tls, ...(servername && { servername }) } : undefined
    try {
      return await Connection.open({ address, tls: settings, ...access })
    } catch (error) {
      throw unavailable(address, error)
    }
  }
}

/** The first that answers; the last error if none does. */
async function firstOf(nodes, work) {
  let failure
  for (const node of nodes) {
    try {
      return await work(node)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function primaryOf({ nodes, name }, open) {
  return firstOf(nodes, async (node) => {
    const sentinel = await open(node, {})
    try {
      const found = await sentinel.ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)
      if (found === null) throw unavailable(node, new ReplyError(`the sentinel knows no primary named ${name}`))
      return { host: found[0], port: Number(found[1]) }
    } finally {
      sentinel.close()
    }
  })
}

async function mastersOf({ nodes }, open) {
  return firstOf(nodes, async (node) => {
    const member = await open(node)
    try {
      const slots = await member.ask('CLUSTER', 'SLOTS')
      const masters = slots.map(([, , [host, port]]) => ({ host: host || node.host, port }))
      return [...new Map(masters.map((master) => [addressText(master), master])).values()]
    } finally {
      member.close()
    }
  })
}

/**
 * Opens them all: `{ kind, servers: [{ address, connection, again() }], close() }`; `again` opens one more connection
 * to the same server. `url` and `tls` are options of a Limiter.
 */
async function openServers({ url, tls }) {
  const place = placeOf(url)
  const open = openerOf(place, tls)
  const addresses = {
    server: () => place.nodes,
    unix: () => [{ path: place.path }],
    sentinel: async () => [await primaryOf(place, open)],
    cluster: () => mastersOf(place, open),
  }
  const opened = []
  const close = () => {
    for (const connection of opened) connection.close()
  }
  const openOne = async (address) => {
    const connection = await open(address)
    opened.push(connection)
    return connection
  }
  try {
    const servers = []
    for (const address of await addresses[place.kind]()) {
      const connection = await openOne(address)
      servers.push({ address: addressText(address), connection, again: () => openOne(address) })
    }
    return { kind: place.kind, servers, close }
  } catch (error) {
    close()
    throw error
  }
}

module.exports = { openServers }
