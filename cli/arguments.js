'use strict'

// Reads a command line. Each command has a table of its options, from which the help is made too. The package checks
// the values: its errors name an option of the package, which is replaced here by the flag.

const { parseArgs } = require('node:util')

class UsageError extends Error {
  code = 'ERR_USAGE'
}

/** The options of every command that connects to Redis. */
const CONNECTION = {
  redis: { value: 'URL', help: 'where Redis is; default: the environment variable REDIS_URL', option: 'url' },
  prefix: { value: 'TEXT', help: "what the service has as keyPrefix; default: 'cl'", option: 'keyPrefix' },
  'tls-ca': {
    value: 'FILE',
    help: 'certificates (PEM) that are trusted instead of the built-in ones',
    option: 'tls.ca',
  },
  'tls-cert': { value: 'FILE', help: 'our own certificate (PEM), with --tls-key', option: 'tls.cert' },
  'tls-key': { value: 'FILE', help: 'its private key (PEM)', option: 'tls.key' },
  'tls-servername': { value: 'NAME', help: "the name in the server's certificate", option: 'tls.servername' },
}

/** The options of every command. */
const GENERAL = {
  json: { help: 'the answer, and errors, as JSON' },
  help: { short: 'h', help: 'this text' },
}

const kindOf = ({ value, short }) => ({ type: value === undefined ? 'boolean' : 'string', ...(short && { short }) })
const forParser = (options) => Object.fromEntries(Object.entries(options).map(([name, spec]) => [name, kindOf(spec)]))

const optionsOf = (command) => ({ ...command.options, ...CONNECTION, ...GENERAL })

/** The command's name, and the arguments without it; options may come before it. */
function splitCommand(args, commands) {
  const every = Object.assign({}, ...commands.map(optionsOf), { version: {} })
  const { tokens } = parseArgs({ args, options: forParser(every), strict: false, tokens: true, allowPositionals: true })
  const end = tokens.find(({ kind }) => kind === 'option-terminator')?.index ?? args.length
  const first = tokens.find(({ kind, index }) => kind === 'positional' && index < end)
  if (first === undefined) return { name: undefined, rest: args, asks: tokens.map(({ name }) => name) }
  return { name: first.value, rest: args.filter((_, i) => i !== first.index), asks: [] }
}

/** The options' values by name, and the positional arguments, with those after `--`: the command of `run`. */
function readArguments(args, command) {
  const options = optionsOf(command)
  let parsed
  try {
    parsed = parseArgs({ args, options: forParser(options), allowPositionals: true, tokens: true })
  } catch (error) {
    throw new UsageError(error.message.split('. To specify')[0])
  }
  const { values, positionals, tokens } = parsed
  const seen = new Set()
  for (const { kind, name, rawName } of tokens) {
    if (kind === 'option' && seen.has(name)) throw new UsageError(`${rawName} is given twice`)
    if (kind === 'option') seen.add(name)
  }
  for (const [name, { number }] of Object.entries(options)) {
    if (number && values[name] !== undefined) values[name] = toNumber(values[name])
  }
  const end = tokens.find(({ kind }) => kind === 'option-terminator')
  const after = end === undefined ? [] : args.slice(end.index + 1)
  return { values, positionals: positionals.slice(0, positionals.length - after.length), after }
}

/** The text as a number; the text itself if it isn't one, for the package's error. */
function toNumber(text) {
  if (/^(inf|infinity)$/i.test(text)) return Infinity
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : text
}

/** Checks the number of positional arguments. */
function expectPositionals(positionals, min, max, what) {
  if (positionals.length < min) throw new UsageError(`${what} is missing`)
  if (positionals.length > max) throw new UsageError(`unexpected ${JSON.stringify(positionals[max])}`)
  return positionals
}

/** The message of an error about an option, with the flag by which it was given. */
function messageOf(error, command) {
  if (error.code !== 'ERR_CONFIG' || command === undefined) return error.message
  const [flag] = Object.entries(optionsOf(command)).find(([, { option }]) => option === error.option) ?? []
  const given = flag === 'redis' ? '--redis or REDIS_URL' : `--${flag}`
  return flag === undefined ? error.message : error.message.replace(error.option, given)
}

module.exports = {
  CONNECTION,
  GENERAL,
  UsageError,
  expectPositionals,
  messageOf,
  optionsOf,
  readArguments,
  splitCommand,
}
