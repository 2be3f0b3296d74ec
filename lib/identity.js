'use strict'

// Which process this is, as `status`, errors and warnings of others tell it (R40).

const { hostname } = require('node:os')
const { basename } = require('node:path')

/** What the bridge takes; undefined where the option says that nothing is told. `name` is another of the user's. */
function identityOf(option, name) {
  if (option === false) return undefined
  const named = option ?? name
  return {
    host: allowed(hostname),
    pid: process.pid,
    program: named ?? allowed(() => basename(process.argv[1] ?? process.execPath)),
    isNamed: named !== undefined,
  }
}

/** Deno asks its user about some of it. */
function allowed(read) {
  try {
    return read()
  } catch {
    return undefined
  }
}

module.exports = { identityOf }
