'use strict'

// Clients whose connection is in a blocking command: what is sent after it isn't answered before that command ends.

const BLOCKING = new Set(
  'blpop brpop brpoplpush blmove blmpop bzpopmin bzpopmax bzmpop wait waitaof monitor'.split(' '),
)
const READING = new Set(['xread', 'xreadgroup'])

/** The name of a blocking command, or undefined if it isn't one. */
function blockingName(name, args = []) {
  const lower = String(name).toLowerCase()
  if (BLOCKING.has(lower)) return lower.toUpperCase()
  const blocks = READING.has(lower) && args.some((word) => String(word).toLowerCase() === 'block')
  return blocks ? `${lower.toUpperCase()} BLOCK` : undefined
}

/** The error's text for a busy client of this library; `name` is that of the blocking command, if it is known. */
function busyWith(library, name) {
  const busy =
    name === undefined
      ? `the ${library} client doesn't answer though its server does; it may be busy with a command that blocks, as BLPOP`
      : `the ${library} client is busy with ${name}, which blocks its connection`
  return `${busy}: give the limiter a connection of its own, client.duplicate()`
}

module.exports = { blockingName, busyWith }
