'use strict'

// The errors that callers see, each with a stable `code` and what one needs to act on it.
// Nothing is decided here: the core answers with a number, `failure` turns that into the class. It is called by the
// async method whose caller waits, after its await, so that the stack shows who asked.

const { inspect } = require('node:util')

class ConcurrencyLimitError extends Error {
  // ConfigError is a TypeError by its prototypes, and one of ours by this.
  static [Symbol.hasInstance](value) {
    const isInstance = Function.prototype[Symbol.hasInstance]
    return isInstance.call(this, value) || (this === ConcurrencyLimitError && isInstance.call(ConfigError, value))
  }
}

class ConfigError extends TypeError {
  constructor(option, given, expected, message = `${option}: expected ${expected}, but got ${show(given)}`) {
    super(message)
    this.option = option
    this.given = given
    this.expected = expected
  }
}

class ConcurrencyLimitExceededError extends ConcurrencyLimitError {
  constructor({ key, limit, limitTimeout, waited, held, waiting, retryAfter }) {
    const soon = retryAfter === undefined ? '' : `; the earliest lease ends in ${retryAfter} s`
    super(`the limit of ${limit} for ${show(key)} was reached for ${waited} s: ${held} held, ${waiting} waiting${soon}`)
    this.key = key
    this.limit = limit
    this.limitTimeout = limitTimeout
    this.waited = waited
    this.held = held
    this.waiting = waiting
    this.retryAfter = retryAfter
  }
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
  constructor(address, cause) {
    super(`${address} is not reachable: ${cause}`, { cause: new Error(cause) })
    this.address = address
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

const CODES = [
  [ConcurrencyLimitError, 'ERR_CONCURRENCY_LIMIT'],
  [ConfigError, 'ERR_CONFIG'],
  [ConcurrencyLimitExceededError, 'ERR_LIMIT_EXCEEDED'],
  [QueueFullError, 'ERR_QUEUE_FULL'],
  [LeaseLostError, 'ERR_LEASE_LOST'],
  [UnavailableError, 'ERR_UNAVAILABLE'],
  [ClosedError, 'ERR_CLOSED'],
  [ProtocolError, 'ERR_PROTOCOL'],
  [BinaryError, 'ERR_BINARY'],
]
for (const [Class, code] of CODES) {
  // On the prototype, so that an error prints its name once and its own properties are what it carries.
  Object.defineProperty(Class.prototype, 'name', { value: Class.name, configurable: true, writable: true })
  Object.defineProperty(Class.prototype, 'code', { value: code, configurable: true, enumerable: true })
}

/** A value as a message shows it: short, on one line. */
function show(value) {
  return inspect(value, { depth: 0, breakLength: Infinity, maxStringLength: 80, maxArrayLength: 3 })
}

/** `text` without the password of a URL in it. */
function withoutPassword(text) {
  return text.replace(/(:\/\/[^/?#:@]*):.*@/g, '$1:***@')
}

/** A ConfigError out of the core's three lines: option, given, expected. */
function configErrorFrom(text) {
  const [option, given, ...expected] = text.split('\n')
  return new ConfigError(option, withoutPassword(given), expected.join('\n'))
}

/** A ConfigError for a name that no option has. */
function unknownOption(option, given, names) {
  const expected = `one of ${names.join(', ')}`
  return new ConfigError(option, given, expected, `unknown option ${show(option)}: expected ${expected}`)
}

const seconds = (ms) => Math.round(ms) / 1000

// By the number that the core gives for a refusal; `terms` are those of an acquire, or only a key, or nothing.
const BY_CODE = {
  1: ({ numbers: [waitedMs, held, waiting, retryAfterMs] }, { key, limit, limitTimeout }) =>
    new ConcurrencyLimitExceededError({
      key,
      limit,
      limitTimeout,
      waited: seconds(waitedMs),
      held,
      waiting,
      retryAfter: retryAfterMs < 0 ? undefined : seconds(retryAfterMs),
    }),
  2: (_, { key, maxWaiting }) => new QueueFullError(key, maxWaiting),
  3: ({ text }) => {
    const [address, ...cause] = withoutPassword(text).split('\n')
    return new UnavailableError(address, cause.join('\n'))
  },
  4: () => new ClosedError(),
  5: ({ text }) => configErrorFrom(text),
  6: ({ text }, { key }) => new ProtocolError(key, text),
}

/** The error for a refusal of the core. */
function failure(refusal, terms = {}) {
  const make = BY_CODE[refusal.code]
  const error =
    make?.(refusal, terms) ?? new ProtocolError(terms.key, `unknown refusal ${refusal.code} ${refusal.text}`)
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
  unknownOption,
  withoutPassword,
}
