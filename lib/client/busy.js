'use strict'

// A client whose connection waits in a command that blocks: whatever is sent after it is answered only when that ends.

const BLOCKING = new Set(
  'blpop brpop brpoplpush blmove blmpop bzpopmin bzpopmax bzmpop wait waitaof monitor'.split(' '),
)
const READING = new Set(['xread', 'xreadgroup'])

/** How a command that blocks is called, or undefined if it's none. */
function blockingName(name, args = []) {
  const lower = String(name).toLowerCase()
  if (BLOCKING.has(lower)) return lower.toUpperCase()
  const blocks = READING.has(lower) && args.some((word) => String(word).toLowerCase() === 'block')
  return blocks ? `${lower.toUpperCase()} BLOCK` : undefined
}

/** What to say of a client of this library that is busy, with a command of this name if it is known. */
function busyWith(library, name) {
  const busy =
    name === undefined
      ? `the ${library} client doesn't answer though its server does; it may be busy with a command that blocks, as BLPOP`
      : `the ${library} client is busy with ${name}, which blocks its connection`
  return `${busy}: give the limiter a connection of its own, client.duplicate()`
}

module.exports = { blockingName, busyWith }
