#!/usr/bin/env node
'use strict'

// The command line. Each command is a file of its own, loaded when it is asked for; none is loaded by the package.

const { UsageError, messageOf, readArguments, splitCommand } = require('./arguments.js')
const { connectionOf, withLimiter } = require('./connection.js')
const { codes, exitOf } = require('./exits.js')
const { helpOf, overview } = require('./help.js')
const { Output } = require('./output.js')

const NAMES = ['status', 'keys', 'run', 'release', 'clean', 'doctor', 'watch', 'dashboard', 'bench']
const load = (name) => require(`./commands/${name}.js`)

function integer(flag, value, min, max) {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new UsageError(`--${flag}: expected an integer from ${min} to ${max}, but got ${JSON.stringify(value)}`)
}

function seconds(flag, value, min, max) {
  if (typeof value === 'number' && value >= min && value <= max) return value
  throw new UsageError(`--${flag}: expected seconds from ${min} to ${max}, but got ${JSON.stringify(value)}`)
}

async function carryOut(command, rest, out) {
  const { values, positionals, after } = readArguments(rest, command)
  out.isJson = values.json === true
  if (values.help) return out.line(helpOf(command))
  if (after.length > 0 && !command.takesCommand) positionals.push(...after)
  const connection = (options) => connectionOf(values, process.env, options)
  return command.run({
    ...{ values, positionals, after, connection, out, integer, seconds },
    withLimiter: (work) => withLimiter(connection(), work),
  })
}

async function main(args) {
  const out = new Output(process)
  // Before the line is read: its errors are JSON too.
  out.isJson = args.slice(0, args.includes('--') ? args.indexOf('--') : undefined).includes('--json')
  let command
  try {
    const { name, rest, asks } = splitCommand(args, NAMES.map(load))
    if (name === undefined) return tellOfItself(asks, out)
    if (!NAMES.includes(name)) throw new UsageError(`there is no command ${JSON.stringify(name)}: see --help`)
    command = load(name)
    return (await carryOut(command, rest, out)) ?? codes.ok
  } catch (error) {
    const code = exitOf(error)
    const isOurFault = code === codes.software && error.code !== 'ERR_BINARY'
    const message = isOurFault ? error.stack : messageOf(error, command)
    out.error(error, message, code)
    if (code === codes.usage && command !== undefined) out.hint(`see: concurrency-limit ${command.name} --help`)
    return code
  }
}

function tellOfItself(asks, out) {
  if (asks.includes('version')) out.line(require('../package.json').version)
  else if (asks.includes('help')) out.line(overview(NAMES.map(load)))
  else out.warn(overview(NAMES.map(load)))
  return asks.includes('version') || asks.includes('help') ? codes.ok : codes.usage
}

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code
})
