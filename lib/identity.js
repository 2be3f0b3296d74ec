'use strict'

// Which process this is, as the `status`, errors and warnings of other processes show it (R40).

const { hostname } = require('node:os')
const { basename } = require('node:path')

/** The identity for the bridge; undefined if the option switches it off. `name`: a program name given by the user. */
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

/** Undefined if the runtime doesn't permit it: Deno may ask its user. */
function allowed(read) {
  try {
    return read()
  } catch {
    return undefined
  }
}

module.exports = { identityOf }
