'use strict'

// What of a value an error may show. Errors end in logs, so nothing of a value that may carry a secret does: of
// objects, lists and functions only the kind is told, of texts only those that are no url, address with a user, or key.

const URL_OR_SECRET = /[@=]|-----BEGIN|:(?!\d{1,5}$)/

/** In the place of a value: what is told of it. */
class Told {
  constructor(text) {
    this.text = text
  }
}

/** The value itself where it may be shown, else a Told. */
function tell(value) {
  if (value instanceof Told || value === null) return value
  switch (typeof value) {
    case 'string':
      return URL_OR_SECRET.test(value) ? conceal(value) : value
    case 'object':
    case 'function':
    case 'symbol':
      return conceal(value)
    default:
      return value
  }
}

/** Only the kind, whatever it is; nothing is said by nothing. */
function conceal(value) {
  if (value === undefined || value === null || value === '') return value
  return new Told(kindOf(value))
}

function kindOf(value) {
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'a list that is not shown'
  if (typeof value !== 'object') return `a ${typeof value} that is not shown`
  const name = classOf(value)
  return name === undefined || name === 'Object' ? 'an object that is not shown' : `an object of the class ${name}`
}

function classOf(value) {
  try {
    const { name } = Object.getPrototypeOf(value).constructor
    return typeof name === 'string' && /^\w{1,64}$/.test(name) ? name : undefined
  } catch {
    return undefined
  }
}

/** A text from elsewhere without the credentials in its urls and addresses. */
function withoutCredentials(text) {
  return text.replace(/(:\/\/)[^\s/?#:@]*:\S*@/g, '$1***@').replace(/(:\/\/)?[^\s'"/@]*:[^\s'"]*@/g, '$1***@')
}

module.exports = { Told, conceal, tell, withoutCredentials }
