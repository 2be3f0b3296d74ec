'use strict'

// What may be asked for: one table of rules for a request, one for a connection, and the reading of both.
// A bad value never reaches the core, where a number would be converted silently. Lengths come in seconds and leave in
// whole milliseconds, with -1 for "without end"; times given in defaults are seconds as the user writes them.

const { ConfigError, unknownOption, withoutPassword } = require('./errors.js')

const NO_END = -1
const REQUIRED = Symbol('required')

const number = (accepts, expected, fallback) => ({
  accepts: (value) => typeof value === 'number' && accepts(value),
  expected,
  fallback,
})
const between = (min, max, expected, fallback) => number((value) => value >= min && value <= max, expected, fallback)
const integer = (min, max, fallback) =>
  number((v) => Number.isSafeInteger(v) && v >= min && v <= max, `an integer from ${min} to ${max}`, fallback)
const text = (min, max, fallback) => ({
  accepts: (value) => typeof value === 'string' && fits(value, min, max),
  expected: `a well-formed string of ${min} to ${max} bytes in UTF-8`,
  fallback,
})
const object = (accepts, expected, fallback) => ({ accepts, expected, fallback })

function fits(value, min, max) {
  return value.length >= min && value.length <= max && value.isWellFormed() && Buffer.byteLength(value) <= max
}

const LIMIT = rules({
  key: text(1, 512, REQUIRED),
  limit: integer(1, 1_000_000, REQUIRED),
  limitTimeout: between(0, Infinity, 'seconds, 0 or more, or Infinity', 10),
  limitInterval: between(0.01, 3600, 'seconds from 0.01 to 3600', 0.1),
  limitExpire: between(0.1, 604_800, 'seconds from 0.1 to 604800 (7 days)', 60),
  weight: integer(1, 1000, 1),
  priority: integer(-10, 10, 0),
  maxWaiting: number(
    (value) => value === Infinity || (Number.isSafeInteger(value) && value >= 0),
    'an integer, 0 or more, or Infinity',
    Infinity,
  ),
  renew: object((value) => typeof value === 'boolean', 'true or false', true),
  limitHold: between(0.1, Infinity, 'seconds, 0.1 or more, or Infinity', Infinity),
  holder: text(1, 256, undefined),
  label: text(0, 128, undefined),
  signal: object(
    (value) => typeof value?.aborted === 'boolean' && typeof value.addEventListener === 'function',
    'an AbortSignal',
    undefined,
  ),
})

const CONNECTION = rules({
  url: text(1, 4096, undefined),
  host: object((value) => typeof value === 'string' && isHost(value), 'a host name or an IP address', '127.0.0.1'),
  port: integer(1, 65_535, 6379),
  db: integer(0, 2_147_483_647, undefined),
  username: text(1, 1024, undefined),
  password: text(1, 4096, undefined),
  connectTimeout: between(0.01, 3600, 'seconds from 0.01 to 3600', 10),
  commandTimeout: between(0.01, 3600, 'seconds from 0.01 to 3600', 1),
  clientName: object(
    (value) => typeof value === 'string' && /^[!-~]{1,128}$/.test(value),
    '1 to 128 printable ASCII characters without spaces',
    undefined,
  ),
  keyPrefix: object(
    (value) => typeof value === 'string' && fits(value, 1, 128) && !/[{}]/.test(value),
    'a well-formed string of 1 to 128 bytes in UTF-8 without { and }',
    'cl',
  ),
  settle: between(0, 3600, 'seconds from 0 to 3600', 2),
  onUnavailable: object(
    (value) => value === 'reject' || value === 'allow' || value === 'local',
    "'reject', 'allow' or 'local'",
    'reject',
  ),
  unavailableTimeout: between(0.1, 604_800, 'seconds from 0.1 to 604800 (7 days)', 60),
  stallTimeout: between(0.1, 604_800, 'seconds from 0.1 to 604800 (7 days)', undefined),
})

const RELEASE_BY = rules({
  key: text(1, 512, REQUIRED),
  holder: text(1, 256, undefined),
  leaseId: object(
    (value) => typeof value === 'string' && /^[0-9a-f]{16}-[0-9]{1,16}$/.test(value),
    'a lease id: 16 hexadecimal digits, a hyphen and a number',
    undefined,
  ),
})

const CLOSE = rules({ release: object((value) => typeof value === 'boolean', 'true or false', true) })

const DEFAULT = Object.fromEntries(LIMIT.names.map((name) => [name, LIMIT.table[name].fallback]))

/** A table of rules, without the names that every object has by nature. */
function rules(table) {
  const names = Object.keys(table)
  const required = names.filter((name) => table[name].fallback === REQUIRED)
  return { names, required, table: Object.assign(Object.create(null), table) }
}

/** A copy of `given` in which everything is as the rules say, or a ConfigError for the first thing that isn't. */
function check({ names, required, table }, given, what) {
  if (given === null || typeof given !== 'object') throw new ConfigError(what, given, 'an object')
  const copy = copyOf(given, names)
  for (const name of Object.keys(copy)) {
    const rule = table[name]
    if (rule === undefined) throw unknownOption(name, copy[name], names)
    if (copy[name] !== undefined && !rule.accepts(copy[name])) {
      throw new ConfigError(name, hideSecret(name, copy[name]), rule.expected)
    }
  }
  for (const name of required) {
    if (copy[name] === undefined) throw new ConfigError(name, undefined, table[name].expected)
  }
  return copy
}

// An instance of a class may have its options as getters, which no enumeration shows.
function copyOf(given, names) {
  const copy = { ...given }
  if (Object.getPrototypeOf(given) !== Object.prototype) for (const name of names) copy[name] = given[name]
  return copy
}

function hideSecret(name, value) {
  if (typeof value !== 'string') return value
  if (name === 'password') return '***'
  return name === 'url' ? withoutPassword(value) : value
}

/** Whole milliseconds; a length that isn't zero never becomes zero, and what exceeds all clocks has no end. */
function ms(seconds) {
  if (seconds === 0) return 0
  const rounded = Math.max(1, Math.round(seconds * 1000))
  return rounded <= Number.MAX_SAFE_INTEGER ? rounded : NO_END
}

/** A request as the border takes it; written out, since every acquisition comes through here. */
function readLimit(config) {
  const given = check(LIMIT, config, 'config')
  const { key, limit, weight = DEFAULT.weight, limitTimeout = DEFAULT.limitTimeout } = given
  if (weight > limit) throw new ConfigError('weight', weight, `an integer from 1 to the limit, ${limit}`)
  return {
    key,
    limit,
    limitTimeout,
    timeoutMs: ms(limitTimeout),
    intervalMs: ms(given.limitInterval ?? DEFAULT.limitInterval),
    leaseMs: ms(given.limitExpire ?? DEFAULT.limitExpire),
    weight,
    priority: given.priority ?? DEFAULT.priority,
    maxWaiting: given.maxWaiting ?? DEFAULT.maxWaiting,
    renew: given.renew ?? DEFAULT.renew,
    holdMs: ms(given.limitHold ?? DEFAULT.limitHold),
    holder: given.holder,
    label: given.label,
    signal: given.signal,
  }
}

/** What `release` is to give back: its key, and either a holder's name or a lease id. */
function readReleaseBy(target) {
  const { key, holder, leaseId } = check(RELEASE_BY, target, 'target')
  if ((holder === undefined) === (leaseId === undefined)) {
    throw new ConfigError('target', target, 'either holder or leaseId beside the key')
  }
  return { key, holder, leaseId }
}

function readClose(options) {
  return check(CLOSE, options, 'options').release ?? true
}

function readText(name, value, max) {
  const rule = text(1, max)
  if (!rule.accepts(value)) throw new ConfigError(name, value, rule.expected)
  return value
}

function readFunction(name, value) {
  if (typeof value !== 'function') throw new ConfigError(name, value, 'a function')
  return value
}

const readKey = (value) => readText('key', value, 512)
const readPattern = (value) => readText('pattern', value, 2048)

/**
 * What `new Limiter(url?, options?)` or `new Limiter(options)` names: the options as the border takes them, and whether
 * nothing named a server (`isDefault`), so that the store of this process is used.
 */
function readConnection(url, options, env) {
  if (typeof url === 'object' && url !== null && options === undefined) return readConnection(undefined, url, env)
  const given = check(CONNECTION, options === undefined ? {} : options, 'options')
  if (url !== undefined) {
    if (given.url !== undefined) throw new ConfigError('url', withoutPassword(given.url), 'one url, not two')
    given.url = check(CONNECTION, { url }, 'options').url
  }
  const place = placeOf(given, env)
  const value = (name) => given[name] ?? CONNECTION.table[name].fallback
  return {
    isDefault: place === undefined,
    url: place ?? 'memory:',
    connectTimeoutMs: ms(value('connectTimeout')),
    commandTimeoutMs: ms(value('commandTimeout')),
    clientName: value('clientName'),
    keyPrefix: value('keyPrefix'),
    settleMs: ms(value('settle')),
    onUnavailable: value('onUnavailable'),
    unavailableTimeoutMs: ms(value('unavailableTimeout')),
    stallTimeoutMs: given.stallTimeout === undefined ? undefined : ms(given.stallTimeout),
  }
}

/** The URL of the server that is meant; undefined when nothing says where. */
function placeOf(given, env) {
  const parts = ['host', 'port', 'db', 'username', 'password'].filter((name) => given[name] !== undefined)
  let { url } = given
  if (url === undefined && parts.length === 0) url = env.REDIS_URL || undefined
  if (url === undefined)
    return parts.length === 0
      ? undefined
      : serverUrl(new URL(`redis://${inUrl(given.host ?? CONNECTION.table.host.fallback)}`), given)

  const bad = (expected) => new ConfigError('url', withoutPassword(url), expected)
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1].toLowerCase()
  if (!['redis', 'valkey', 'memory'].includes(scheme)) throw bad('a URL that begins with redis:, valkey: or memory:')
  const names = scheme === 'memory' ? parts : parts.filter((name) => name === 'host' || name === 'port')
  if (names.length > 0) throw new ConfigError(names[0], hideSecret(names[0], given[names[0]]), 'nothing beside the url')
  if (scheme === 'memory') {
    if (!/^memory:(\/\/)?$/i.test(url)) throw bad('memory: alone')
    return 'memory:'
  }
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed?.hostname || parsed.hash !== '' || !/^\/?[0-9]*$/.test(parsed.pathname)) {
    throw bad(`${scheme}://[[user]:password@]host[:port][/db], with % for special characters`)
  }
  return serverUrl(parsed, { ...given, port: undefined })
}

/** `url` with what the options say beside it; what both say is a mistake. */
function serverUrl(url, { port, db, username, password }) {
  const add = (name, value, present, write) => {
    if (value === undefined) return
    if (present) throw new ConfigError(name, hideSecret(name, value), `nothing, as the url has a ${name} already`)
    write(value)
  }
  add('port', port, false, (value) => (url.port = String(value)))
  add('db', db, /[0-9]/.test(url.pathname), (value) => (url.pathname = `/${value}`))
  add('username', username, url.username !== '', (value) => (url.username = encodeURIComponent(value)))
  add('password', password, url.password !== '', (value) => (url.password = encodeURIComponent(value)))
  return url.href
}

function inUrl(host) {
  return host.includes(':') ? `[${host}]` : host
}

function isHost(host) {
  return /^[a-zA-Z0-9_.:%-]{1,255}$/.test(host) && URL.canParse(`redis://${inUrl(host)}`)
}

module.exports = {
  readClose,
  readConnection,
  readFunction,
  readKey,
  readLimit,
  readPattern,
  readReleaseBy,
}
