'use strict'

// The options of a request and of the other calls: their rules, and how they are read. `connection.js` does the same
// for the connection. Times in defaults are seconds, as the user writes them.

const { ConfigError } = require('./errors.js')
const { REQUIRED, between, boolean, check, integer, ms, number, object, rules, text } = require('./rules.js')
const { EXPECTED: SIGNAL, isSignal } = require('./signals.js')
const { warnOfMilliseconds } = require('./warnings.js')

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
  renew: boolean(true),
  limitHold: between(0.1, Infinity, 'seconds, 0.1 or more, or Infinity', Infinity),
  limitKeep: between(0, 60, 'seconds from 0 to 60', 0),
  holder: text(1, 256, undefined),
  label: text(0, 128, undefined),
  signal: object(isSignal, SIGNAL, undefined),
  rejectOnLoss: boolean(false),
})

const RELEASE_BY = rules({
  key: text(1, 512, REQUIRED),
  holder: text(1, 256, undefined),
  leaseId: object(
    (value) => typeof value === 'string' && /^[0-9a-f]{16}-[0-9]{1,16}$/.test(value),
    'a lease id: 16 hexadecimal digits, a hyphen and a number',
    undefined,
  ),
  fencingToken: integer(0, Number.MAX_SAFE_INTEGER, undefined),
})

const CLOSE = rules({ release: boolean(true) })

const READY = rules({ timeout: LIMIT.table.limitTimeout, signal: LIMIT.table.signal })

const isFunction = (value) => typeof value === 'function'
const METRICS = {
  group: object(isFunction, 'a function that gives the class of a key', undefined),
  maxGroups: integer(1, 10_000, undefined),
}
const METRICS_OPTIONS = rules(METRICS)
const INSTRUMENT = rules({
  ...METRICS,
  metrics: boolean(true),
  traces: boolean(true),
  meterProvider: object((value) => isFunction(value?.getMeter), 'a MeterProvider of OpenTelemetry', undefined),
  tracerProvider: object((value) => isFunction(value?.getTracer), 'a TracerProvider of OpenTelemetry', undefined),
})

const DEFAULT = Object.fromEntries(LIMIT.names.map((name) => [name, LIMIT.table[name].fallback]))

/** A request as the bridge takes it. Written out for speed: every acquisition comes through here. */
function readLimit(config) {
  const given = check(LIMIT, config, 'config')
  const { key, limit, weight = DEFAULT.weight, limitTimeout = DEFAULT.limitTimeout } = given
  if (weight > limit) throw new ConfigError('weight', weight, `an integer from 1 to the limit, ${limit}`)
  if (limitTimeout >= 1000) warnOfMilliseconds('limitTimeout', limitTimeout)
  if (given.limitExpire >= 1000) warnOfMilliseconds('limitExpire', given.limitExpire)
  if (given.limitKeep > 0) checkKeep(given)
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
    keepMs: ms(given.limitKeep ?? DEFAULT.limitKeep),
    holder: given.holder,
    label: given.label,
    signal: given.signal,
    hold: null, // of the request, once it's made
    rejectOnLoss: given.rejectOnLoss ?? DEFAULT.rejectOnLoss,
  }
}

/** Only plain slots can be kept: any request with the same limit and lease is served from them. */
function checkKeep({ limitKeep, limitExpire = DEFAULT.limitExpire, renew = DEFAULT.renew, ...given }) {
  if (limitKeep > limitExpire / 3) {
    throw new ConfigError('limitKeep', limitKeep, `at most a third of limitExpire, which is ${limitExpire}`)
  }
  const { weight = DEFAULT.weight, priority = DEFAULT.priority, limitHold = DEFAULT.limitHold, holder } = given
  if (weight > 1 || priority !== 0 || limitHold !== DEFAULT.limitHold || holder !== undefined || !renew) {
    throw new ConfigError(
      'limitKeep',
      limitKeep,
      '0 with a weight, a priority, a holder, a limitHold, or without renew',
    )
  }
}

/** What `release` gives back: the key, and either a holder's name or a lease id, with or without its token. */
function readReleaseBy(target) {
  const { key, holder, leaseId, fencingToken } = check(RELEASE_BY, target, 'target')
  if ((holder === undefined) === (leaseId === undefined)) {
    throw new ConfigError('target', target, 'either holder or leaseId beside the key')
  }
  if (holder !== undefined && fencingToken !== undefined) {
    throw new ConfigError('target', target, 'a fencingToken beside a leaseId only')
  }
  return { key, holder, lease: fencingToken === undefined ? leaseId : `${leaseId} ${fencingToken}` }
}

function readClose(options) {
  return check(CLOSE, options, 'options').release ?? true
}

/** The request by which `ready` finds out whether leases are granted. */
function readReady(options) {
  const { timeout, signal } = check(READY, options, 'options')
  return { key: 'concurrency-limit:ready', limit: 1_000_000, limitTimeout: timeout, limitExpire: 10, signal }
}

const readMetrics = (options) => check(METRICS_OPTIONS, options, 'options')

/** The options of the subpath `otel`. */
function readInstrument(options) {
  const { metrics = true, traces = true, ...given } = check(INSTRUMENT, options, 'options')
  return { metrics, traces, ...given }
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

module.exports = {
  readClose,
  readFunction,
  readInstrument,
  readKey,
  readLimit,
  readMetrics,
  readPattern,
  readReady,
  readReleaseBy,
}
