'use strict'

// Rows for the core: requests as numbers in one buffer, which goes down in one call. Texts (keys, names) are sent once;
// after that a number stands for each.

const { microtask } = require('../timers.js')

const CAPACITY = 8192 // numbers in the buffer
const LONGEST_ROW = 16
const MOST_TEXTS = 10_000
const TEXTS_OF_A_ROW = 3
const PATIENCE_HOPS = 6 // microtasks until the code after an awaited `withLimit` runs, with a wrapper or two between

const buffer = new Float64Array(CAPACITY)
let length = 0
const texts = new Map()
let hopsLeft = 0
let port = null
let flush = null // sends all rows and reads the answers that come at once
let handDown = null // sends all rows

/** Rows go to this port from now on. */
function attach(toPort, callbacks) {
  port = toPort
  flush = callbacks.flush
  handDown = callbacks.handDown
}

/** There is no port any more. */
function detach() {
  port = null
  texts.clear()
}

/**
 * Begins a row. Its texts are added after this, since forgetting texts inside a row would make its first ones invalid.
 */
function begin(op, client, n, schedule = flushSoon) {
  if (texts.size > MOST_TEXTS - TEXTS_OF_A_ROW) {
    handDown()
    port.forgetTexts()
    texts.clear()
  }
  if (length > CAPACITY - LONGEST_ROW) handDown()
  if (length === 0) schedule()
  put(op)
  put(client)
  put(n)
}

function put(value) {
  buffer[length++] = value
}

function putText(text) {
  put(text === undefined ? 0 : numberOf(text))
}

function numberOf(text) {
  let number = texts.get(text)
  if (number === undefined) {
    number = port.intern(text)
    texts.set(text, number)
  }
  return number
}

const isEmpty = () => length === 0

/** Sends all rows. The answers that come at once go into `answers`; how much of it is filled. */
function submit(answers) {
  const sent = length
  length = 0
  return port.submit(buffer, sent, answers)
}

const flushSoon = () => microtask(flush)

/** For a row whose answer isn't awaited: code that continues now may ask for more, and both go down in one call. */
function flushLater() {
  hopsLeft = PATIENCE_HOPS
  microtask(hop)
}

function hop() {
  if (--hopsLeft > 0) microtask(hop)
  else flush()
}

module.exports = { attach, detach, begin, put, putText, isEmpty, submit, flushSoon, flushLater }
