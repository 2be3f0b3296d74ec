'use strict'

// How options are checked: a rule tells what one option accepts, a table of rules what an object of options may have.
// An invalid value never reaches the core, which would convert a number silently. No error shows a secret: see told.js.
// Lengths are given in seconds and become whole milliseconds, with -1 for "no end".

const { ConfigError, unknownOption } = require('./errors.js')
const { conceal } = require('./told.js')

const NO_END = -1
const REQUIRED = Symbol('required')

const object = (accepts, expected, fallback) => ({ accepts, expected, fallback })
const number = (accepts, expected, fallback) =>
  object((value) => typeof value === 'number' && accepts(value), expected, fallback)
const between = (min, max, expected, fallback) => number((value) => value >= min && value <= max, expected, fallback)
const integer = (min, max, fallback) =>
  number((v) => Number.isSafeInteger(v) && v >= min && v <= max, `an integer from ${min} to ${max}`, fallback)
const boolean = (fallback) => object((value) => typeof value === 'boolean', 'true or false', fallback)
const text = (min, max, fallback) =>
  object(
    (value) => typeof value === 'string' && fits(value, min, max),
    `a well-formed string of ${min} to ${max} bytes in UTF-8`,
    fallback,
  )

/** A rule whose values are never shown in errors. */
const secret = (rule) => ({ ...rule, isSecret: true })

function fits(value, min, max) {
  return value.length >= min && value.length <= max && value.isWellFormed() && Buffer.byteLength(value) <= max
}

/**
 * A table of rules, without the names that every object inherits. `of`: the option whose members they are. `instead`:
 * what to use instead of an option that other libraries have.
 */
function rules(table, of, instead = {}) {
  const names = Object.keys(table)
  const required = names.filter((name) => table[name].fallback === REQUIRED)
  const bare = (object) => Object.assign(Object.create(null), object)
  return { names, required, table: bare(table), prefix: of === undefined ? '' : `${of}.`, instead: bare(instead) }
}

/** A copy of `given` with the values as the rules read them, or a ConfigError for the first invalid one. */
function check({ names, required, table, prefix, instead }, given, what) {
  if (given === null || typeof given !== 'object') throw new ConfigError(what, conceal(given), 'an object')
  const copy = copyOf(given, names)
  for (const name of Object.keys(copy)) {
    const rule = table[name]
    if (rule === undefined) {
      if (instead[name] === undefined) throw unknownOption(prefix + name, copy[name], names)
      throw new ConfigError(prefix + name, conceal(copy[name]), instead[name])
    }
    if (copy[name] !== undefined && !rule.accepts(copy[name])) {
      throw new ConfigError(prefix + name, rule.isSecret ? conceal(copy[name]) : copy[name], rule.expected)
    }
  }
  for (const name of required) {
    if (copy[name] === undefined) throw new ConfigError(prefix + name, undefined, table[name].expected)
  }
  return copy
}

// An instance of a class may have its options as getters, which can't be enumerated.
function copyOf(given, names) {
  const copy = { ...given }
  if (Object.getPrototypeOf(given) !== Object.prototype) for (const name of names) copy[name] = given[name]
  return copy
}

/** Whole milliseconds. A length that isn't zero never becomes zero, and one beyond all clocks has no end. */
function ms(seconds) {
  if (seconds === 0) return 0
  const rounded = Math.max(1, Math.round(seconds * 1000))
  return rounded <= Number.MAX_SAFE_INTEGER ? rounded : NO_END
}

module.exports = { REQUIRED, between, boolean, check, fits, integer, ms, number, object, rules, secret, text }
