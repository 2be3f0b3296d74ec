'use strict'

// Facts about a server, read without changing anything. What isn't permitted is null.

const { ReplyError } = require('../server/connection.js')
const { rightsOf } = require('./rights.js')

const PINGS = 20
const SETTINGS = ['timeout', 'min-replicas-to-write', 'client-output-buffer-limit', 'appendfsync', 'maxclients']
const OUR_LIBRARIES = 'concurrency_limit*'

/** An answer, or null where the server refuses the question. */
async function ifPermitted(question) {
  try {
    return await question
  } catch (error) {
    if (error instanceof ReplyError) return null
    throw error
  }
}

/** `name:value` lines as an object. */
const parseInfo = (text) =>
  Object.fromEntries([...text.matchAll(/^([^#:\r\n]+):([^\r\n]*)/gm)].map(([, k, v]) => [k, v]))

async function settingsOf(connection) {
  const settings = {}
  for (const name of SETTINGS) {
    const answer = await ifPermitted(connection.ask('CONFIG', 'GET', name))
    settings[name] = answer?.[1] ?? null
  }
  return settings
}

/** Round trips in ms, and how far our clock is from the server's: at most half of a round trip is not known. */
async function measure(connection) {
  const [trips, offsets] = [[], []]
  for (let i = 0; i < PINGS; i++) {
    const [start, from] = [Date.now(), performance.now()]
    const time = await ifPermitted(connection.ask('TIME'))
    const trip = performance.now() - from
    trips.push(trip)
    if (time !== null)
      offsets.push({ trip, offset: Number(time[0]) * 1000 + Number(time[1]) / 1000 - (start + trip / 2) })
  }
  trips.sort((a, b) => a - b)
  offsets.sort((a, b) => a.trip - b.trip)
  return {
    latency: { medianMs: trips[PINGS / 2], worstMs: trips[PINGS - 1] },
    clockAheadMs: offsets.length === 0 ? null : offsets[0].offset,
  }
}

/** Whether a publication arrives at a subscriber, as a grant would at a waiting process. */
async function tryPush({ connection, again }, prefix) {
  const channel = `${prefix}:push:concurrency-limit-doctor-${process.pid}-${Date.now()}`
  const listener = await again()
  try {
    await listener.ask('SUBSCRIBE', channel)
    const [message] = await Promise.all([listener.next(), connection.ask('PUBLISH', channel, 'x')])
    return { arrived: message?.[2] === 'x' }
  } catch (error) {
    return { arrived: false, why: error.message }
  } finally {
    listener.close()
  }
}

/** The function libraries of this package, by name. */
async function librariesOf(connection) {
  const listed = await ifPermitted(connection.ask('FUNCTION', 'LIST', 'LIBRARYNAME', OUR_LIBRARIES))
  return listed?.map((library) => library[library.indexOf('library_name') + 1]) ?? null
}

/** All of it, for a server of `openServers`. */
async function factsOf(server, prefix) {
  const { connection, address } = server
  const info = await ifPermitted(connection.ask('INFO'))
  return {
    address,
    info: info === null ? null : parseInfo(info),
    settings: await settingsOf(connection),
    ...(await measure(connection)),
    rights: await rightsOf(connection, prefix),
    push: await tryPush(server, prefix),
    libraries: await librariesOf(connection),
  }
}

module.exports = { factsOf, parseInfo }
