'use strict'

// Functions of the user's for values that are only known when they are needed: credentials that expire, translated
// addresses. The core asks and bounds the time of the answer.
//
// An answer is checked like the option itself. An invalid one is never shown: it may be a secret.

const { Told, conceal, tell } = require('./told.js')

const LONGEST_MESSAGE = 500

/** The functions of one environment. `port`: see bridge.js. */
class Questions {
  #port
  #asked = new Map() // number → { source, users }
  #numbers = new Map() // function → { option → number }
  #last = 0

  constructor(port) {
    this.#port = port
  }

  /** The number of a Source in the core. It stays the same while the function is used for the same option. */
  use(source) {
    const numbers = this.#numbers.get(source.key) ?? {}
    this.#numbers.set(source.key, numbers)
    numbers[source.option] ??= ++this.#last
    const number = numbers[source.option]
    if (!this.#asked.has(number)) this.#asked.set(number, { source, users: 0 })
    this.#asked.get(number).users++
    return number
  }

  letGo(number) {
    const asked = this.#asked.get(number)
    if (--asked.users > 0) return
    this.#asked.delete(number)
    const numbers = this.#numbers.get(asked.source.key)
    delete numbers[asked.source.option]
    if (Object.keys(numbers).length === 0) this.#numbers.delete(asked.source.key)
    this.#port.forgetFunction(number)
  }

  /** A question of the core; it is answered once. */
  async ask(number, question, about) {
    const source = this.#asked.get(number)?.source
    try {
      if (source === undefined) throw new Error('no limiter uses the function any more')
      this.#port.answer(question, true, source.read(await source.ask(about), about))
    } catch (error) {
      this.#port.answer(question, false, reasonOf(error))
    }
  }

  /** The port has no client any more. */
  end() {
    this.#port = { answer() {}, forgetFunction() {} }
  }
}

/** A user's function, with its option, how it is called, and how its answer becomes a text. */
class Source {
  constructor(option, key, read, ask = () => key()) {
    this.option = option
    this.key = key
    this.read = read
    this.ask = ask
  }
}

/** Reads an answer as the option's `rule` reads a value. */
function answerBy(rule) {
  return (answer) => {
    if (rule.accepts(answer)) return answer
    throw new Error(`its function gave ${nameOf(answer)} instead of ${rule.expected}`)
  }
}

function nameOf(answer) {
  if (answer === undefined || answer === null) return String(answer)
  const told = tell(conceal(answer))
  return told instanceof Told ? told.text : 'an empty string'
}

// Only the message of an Error is meant for people.
function reasonOf(error) {
  try {
    if (typeof error?.message === 'string') return error.message.slice(0, LONGEST_MESSAGE).toWellFormed()
  } catch {}
  return 'its function failed with something that is no Error'
}

module.exports = { Questions, Source, answerBy }
