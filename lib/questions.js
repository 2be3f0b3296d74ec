'use strict'

// Functions that users bring for what is known only when it's needed: a user name or a password that runs out, an
// address that only they can translate. The core asks, they answer in their own time, the core bounds it.
//
// An answer is checked as the option itself would be, and nothing of one that is wrong is told: it may be a secret.

const { Told, conceal, tell } = require('./told.js')

const LONGEST_MESSAGE = 500

/** The functions of one environment. `port` is the core's: see bridge.js. */
class Questions {
  #port
  #asked = new Map() // number → { source, users }
  #numbers = new Map() // function → { option → number }
  #last = 0

  constructor(port) {
    this.#port = port
  }

  /** The number of a Source in the core, one and the same while anybody uses the function for the same option. */
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

  /** The core asks; it is answered once. */
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

/** What a user's function is asked for: the option, how it is asked, and how its answer is read into a text. */
class Source {
  constructor(option, key, read, ask = () => key()) {
    this.option = option
    this.key = key
    this.read = read
    this.ask = ask
  }
}

/** Read an answer as the option's `rule` reads a value. */
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

// Only the message of an Error is one for people; anything else may be anything.
function reasonOf(error) {
  try {
    if (typeof error?.message === 'string') return error.message.slice(0, LONGEST_MESSAGE).toWellFormed()
  } catch {}
  return 'its function failed with something that is no Error'
}

module.exports = { Questions, Source, answerBy }
