'use strict'

// The exit codes: those of sysexits(3), which mail and batch systems know, and a shell's for commands that it runs.

const EXITS = {
  ok: [0, 'done'],
  found: [1, 'doctor: something is wrong; release: there was no such lease'],
  usage: [64, 'the command line is wrong'],
  unavailable: [69, 'Redis is not reachable, or refused'],
  software: [70, 'a fault of this program, or no binary for this machine'],
  lost: [74, 'run: the slot was lost, and the command ended with 0 all the same'],
  limited: [75, 'run: the limit was not got, the command was not started'],
  protocol: [76, 'a key has other data than a group, or another version of the layout'],
  notExecutable: [126, 'run: the command was found but could not be started'],
  notFound: [127, 'run: the command was not found'],
}

const codes = Object.fromEntries(Object.entries(EXITS).map(([name, [code]]) => [name, code]))

const BY_ERROR = {
  ERR_CONFIG: codes.usage,
  ERR_USAGE: codes.usage,
  ERR_UNAVAILABLE: codes.unavailable,
  ERR_LIMIT_EXCEEDED: codes.limited,
  ERR_QUEUE_FULL: codes.limited,
  ERR_PROTOCOL: codes.protocol,
}

const exitOf = (error) => error.exit ?? BY_ERROR[error.code] ?? codes.software

module.exports = { EXITS, codes, exitOf }
