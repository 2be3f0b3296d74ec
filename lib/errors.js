'use strict'

// The errors that callers see, each with a stable `code` and the facts that help to handle it. Nothing is decided here:
// the core answers with a name, and `failure` makes the error. It is called after the await of the async method that
// the caller waits for, so that the stack shows the caller.

const { inspect } = require('node:util')
const { Told, conceal, tell, withoutCredentials } = require('./told.js')

/** Marks the errors of every loaded copy of this package; it must not change between versions. */
const KIND = Symbol.for('concurrency-limit.error')

class ConcurrencyLimitError extends Error {
  constructor(message, options) {
    super(message, options)
    takeAlong(this)
  }
}

// A TypeError by its prototypes, and one of ours by its kind.
class ConfigError extends TypeError {
  // Only the part of the value that may be shown is kept: see told.js.
  constructor(option, given, expected, message) {
    const told = tell(given)
    super(message ?? `${option}: expected ${expected}, but got ${told instanceof Told ? told.text : show(told)}`)
    takeAlong(this)
    this.option = option
    this.given = told instanceof Told ? told.text : told
    this.expected = expected
  }
}

class ConcurrencyLimitExceededError extends ConcurrencyLimitError {
  constructor({ key, limit, limitTimeout, waited, held, waiting, retryAfter, holders }) {
    const soon = retryAfter === undefined ? '' : `; the earliest lease ends in ${retryAfter} s`
    super(
      `the limit of ${limit} for ${show(key)} was reached for ${waited} s: ` +
        `${held} held, ${waiting} waiting${soon}${heldBy(holders)}`,
    )
    this.key = key
    this.limit = limit
    this.limitTimeout = limitTimeout
    this.waited = waited
    this.held = held
    this.waiting = waiting
    this.retryAfter = retryAfter
    this.holders = holders
  }
}

/** Who holds, as the end of a message. */
function heldBy(holders = []) {
  const all = holders.map(
    ({ label, holder, program, leaseId, slots, heldFor, ...place }) =>
      `${show(label || holder || program || leaseId)}${at(place)} in slot ${slots[0]} for ${heldFor} s`,
  )
  return all.length === 0 ? '' : `; held by ${all.join(', ')}`
}

/** The host and the process, if they are known. */
const at = ({ host, pid }) => (pid === null ? '' : host === null ? ` (process ${pid})` : ` (${host}:${pid})`)

/** The warning about requests that have waited for long. */
function longWait(key, waited, holders) {
  return `a request for ${show(key)} has waited for ${waited} s${heldBy(holders)}`
}

class QueueFullError extends ConcurrencyLimitError {
  constructor(key, maxWaiting) {
    super(`${maxWaiting} or more already wait for ${show(key)}`)
    this.key = key
    this.maxWaiting = maxWaiting
  }
}

class LeaseLostError extends ConcurrencyLimitError {
  constructor(key, slot, why) {
    super(`slot ${slot} of ${show(key)} was lost: ${why}`)
    this.key = key
    this.slot = slot
    this.why = why
  }
}

class UnavailableError extends ConcurrencyLimitError {
  constructor(address, cause, answered) {
    super(`${address} ${answered ? 'refused' : 'is not reachable'}: ${cause}`, { cause: new Error(cause) })
    this.address = address
    this.answered = answered
  }
}

class ClosedError extends ConcurrencyLimitError {
  constructor() {
    super('the limiter is closed')
  }
}

class ProtocolError extends ConcurrencyLimitError {
  constructor(key, what) {
    super(key === undefined ? what : `${show(key)}: ${what}`)
    this.key = key
  }
}

class BinaryError extends ConcurrencyLimitError {
  constructor(message, { platform, arch, libc, node, package: packageName }, cause) {
    super(message, cause === undefined ? undefined : { cause })
    this.platform = platform
    this.arch = arch
    this.libc = libc
    this.node = node
    this.package = packageName
  }
}

// The names are written out: minifiers rename classes.
const KINDS = [
  [ConcurrencyLimitError, 'ConcurrencyLimitError', 'ERR_CONCURRENCY_LIMIT'],
  [ConfigError, 'ConfigError', 'ERR_CONFIG'],
  [ConcurrencyLimitExceededError, 'ConcurrencyLimitExceededError', 'ERR_LIMIT_EXCEEDED'],
  [QueueFullError, 'QueueFullError', 'ERR_QUEUE_FULL'],
  [LeaseLostError, 'LeaseLostError', 'ERR_LEASE_LOST'],
  [UnavailableError, 'UnavailableError', 'ERR_UNAVAILABLE'],
  [ClosedError, 'ClosedError', 'ERR_CLOSED'],
  [ProtocolError, 'ProtocolError', 'ERR_PROTOCOL'],
  [BinaryError, 'BinaryError', 'ERR_BINARY'],
]
for (const [Class, name, code] of KINDS) {
  // Also on the prototype, since the stack is made before an error has properties of its own.
  for (const [key, value] of Object.entries({ name, code, toJSON }).concat([[KIND, name]])) {
    Object.defineProperty(Class.prototype, key, { value, configurable: true, writable: true })
  }
}
for (const Class of [ConcurrencyLimitError, ConfigError]) {
  Object.defineProperty(Class, Symbol.hasInstance, { value: isInstance })
}

/**
 * Makes `name` and `code` own properties of the error, so that they are copied with it: to a log, to another process.
 */
function takeAlong(error) {
  const { name, code } = error
  error.name = name
  error.code = code
}

/**
 * For `instanceof`: errors of another copy of this package count; those of a class that extends ours don't.
 */
function isInstance(value) {
  const isOfThisCopy = Function.prototype[Symbol.hasInstance].call(this, value)
  if (isOfThisCopy || !Object.hasOwn(this.prototype, KIND)) return isOfThisCopy
  const kind = value?.[KIND]
  return kind === this.prototype[KIND] || (this === ConcurrencyLimitError && typeof kind === 'string')
}

/** The error's properties, except its stack, as a plain object that can be copied in any way. */
function toJSON() {
  const { name, code, message, cause } = this
  const json = { name, code, message }
  for (const [key, value] of Object.entries(this)) json[key] = isPlain(value) ? value : show(value)
  if (cause !== undefined) json.cause = { name: cause.name, code: cause.code, message: cause.message }
  return json
}

const isPlain = (value) =>
  value == null || ['string', 'number', 'boolean'].includes(typeof value) || Array.isArray(value)

/** A value as a message shows it: short, on one line. */
function show(value) {
  return inspect(value, { depth: 0, breakLength: Infinity, maxStringLength: 80, maxArrayLength: 3 })
}

const UNREPEATED = "a url that can't be used"

/** A ConfigError from the core's three lines: option, given, expected. */
function configErrorFrom(text) {
  const [option, given, ...expected] = text.split('\n')
  // For a URL the core gives a whole sentence, which shows nothing of the URL.
  if (given === UNREPEATED)
    return new ConfigError(option, new Told(given), expected.join('\n'), `${option}: ${expected.join('\n')}`)
  // What is quoted was written by the user; the rest is the core's own text.
  return new ConfigError(option, given.startsWith('"') ? tell(given) : new Told(given), expected.join('\n'))
}

/** A ConfigError for a name that no option has. */
function unknownOption(option, given, names) {
  const expected = `one of ${names.join(', ')}`
  return new ConfigError(option, conceal(given), expected, `unknown option ${show(option)}: expected ${expected}`)
}

const seconds = (ms) => Math.round(ms) / 1000

// By the failure's name in codes.js; `terms`: those of an acquire, or only a key, or nothing.
const BY_NAME = {
  LimitExceeded: ({ numbers: [waitedMs, held, waiting, retryAfterMs] }, { key, limit, limitTimeout, holders }) =>
    new ConcurrencyLimitExceededError({
      key,
      limit,
      limitTimeout,
      waited: seconds(waitedMs),
      held,
      waiting,
      retryAfter: retryAfterMs < 0 ? undefined : seconds(retryAfterMs),
      holders,
    }),
  QueueFull: (_, { key, maxWaiting }) => new QueueFullError(key, maxWaiting),
  Unavailable: ({ numbers: [answered], text }) => {
    const [address, ...cause] = withoutCredentials(text).split('\n')
    return new UnavailableError(address, cause.join('\n'), answered === 1)
  },
  Closed: () => new ClosedError(),
  Config: ({ text }) => configErrorFrom(text),
  Protocol: ({ text }, { key }) => new ProtocolError(key, text),
}

/** The error for a refusal of the core. */
function failure(refusal, terms = {}) {
  const make = BY_NAME[refusal.name]
  const error =
    make?.(refusal, terms) ?? new ProtocolError(terms.key, `unknown refusal ${refusal.name} ${refusal.text}`)
  Error.captureStackTrace(error, failure)
  return error
}

module.exports = {
  ConcurrencyLimitError,
  ConfigError,
  ConcurrencyLimitExceededError,
  QueueFullError,
  LeaseLostError,
  UnavailableError,
  ClosedError,
  ProtocolError,
  BinaryError,
  configErrorFrom,
  failure,
  longWait,
  unknownOption,
}
