'use strict'

// The one place where JavaScript and the core meet: everything above reads like ordinary promises.
//
// A promise, an object or an error made natively costs more than a whole request, so none is: requests are rows of
// numbers in one buffer, and all rows of a turn go down in one call, at the end of its microtasks. What the process can
// answer by itself comes back in that call. Other completions lie ready in the core until it wakes this thread, once
// for many. All are read in the order in which they were made, from one reused buffer. Texts (keys,
// names) cross once and are numbers from then on. No rule of the limiter lives here.
//
// One port per module instance, so a worker thread has its own, and only while a client is open. The event loop is kept
// alive exactly while an answer is outstanding.

const { loadCodes } = require('./codes.js')
const exits = require('./exits.js')
const { loadBinary } = require('./native.js')
const { outside, paced } = require('./pace.js')
const { Questions, Source } = require('./questions.js')
const { Table } = require('./table.js')
const { clearInterval, microtask, setInterval } = require('./timers.js')
const { Transports } = require('./transport.js')

const ROWS = 8192 // numbers in a buffer
const CLOCK = 0 // a buffer of completions begins with the local clock in ms,
const MORE = 1 // whether more lies ready,
const HEAD = 2 // and then its rows
const LONGEST_ROW = 15
const MOST_TEXTS = 10_000
const TEXTS_OF_A_ROW = 3
const EXIT_WAIT_MS = 200
const PATIENCE_HOPS = 6 // microtasks until those go on who await `withLimit`, in a wrapper or two

/** The core's no, by the name of its failure; `failure` makes the error of it. */
class Refusal {
  constructor(name, numbers, text) {
    this.name = name
    this.numbers = numbers
    this.text = text
  }
}

const CANCELLED = new Refusal('Cancelled', [], '')
const CLOSED = new Refusal('Closed', [], '')

/** In the place of a request that was left: a grant that comes all the same goes back. */
class Left {
  constructor(client, n) {
    this.client = client
    this.n = n
  }

  granted() {
    giveBack(this.client, this.n)
  }

  settle() {}
}

let port = null
let codes = null // since the binary was loaded: see codes.js
let granted = 0 // the number of what most rows up are
let transports = null // between the core and the clients of users
let questions = null // between the core and the functions that users bring
let letGo = null // ends the port
let keepAlive = null
const outbox = new Float64Array(ROWS)
let outboxLength = 0
let hopsLeft = 0
const inbox = new Float64Array(ROWS)
const NO_ROOM = new Float64Array(0)
let unread = 0 // how much of the inbox is filled and not read to its end
let isReading = false
let isMoreReady = false // completions lie ready in the core, and nobody will be woken for them
let answers = null // reads them, until the event loop has to turn: see pace.js
const texts = new Map()
const listeners = new Map() // client → { hear(event, text), used: what of the user's it uses }
const askers = new Table() // number of a request → { settle(answer), granted(…) }, until its one completion
const holds = new Table() // number of a request → { lost(why) }, while its lease is held
let lastNumber = 0

/** Opens a client; `hear(event, text)` is told what happens to its connection. */
function open(options, hear) {
  port ??= start()
  const used = { transport: options.client === undefined ? undefined : transports.use(options.client), asked: [] }
  try {
    const client = port.open({ ...withNumbers(options, used.asked), client: used.transport })
    listeners.set(client, { hear, used })
    return client
  } catch (error) {
    letGoOf(used)
    microtask(stop)
    throw error
  }
}

/** The options with a number in the place of each function that is asked; all of these in `asked`. */
function withNumbers(options, asked) {
  const entries = Object.entries(options).map(([name, value]) => {
    if (name === 'sentinel' && value !== undefined) return [name, withNumbers(value, asked)]
    if (!(value instanceof Source)) return [name, value]
    const number = questions.use(value)
    asked.push(number)
    return [name, number]
  })
  return Object.fromEntries(entries)
}

function letGoOf({ transport, asked }) {
  if (transport !== undefined) transports.letGo(transport)
  for (const number of asked) questions.letGo(number)
}

function start() {
  const { Port } = loadBinary()
  codes = loadCodes()
  granted = codes.completion.Granted
  keepAlive = setInterval(() => {}, 0x7fffffff)
  keepAlive.unref()
  exits.add(exit)
  // The core keeps these functions for as long as there is a port, so they must not keep it. What a port says after
  // its end is for nobody; links over clients end then, each in its own time.
  const mine = { port: null, transports: null, questions: null }
  const wake = () => port !== null && port === mine.port && hear()
  mine.port = new Port(
    wake,
    (...order) => outside(() => mine.transports.order(...order)),
    (...question) => mine.questions.ask(...question),
  )
  mine.transports = transports = new Transports(mine.port, codes)
  mine.questions = questions = new Questions(mine.port)
  answers = paced(
    (at) => port !== null && port === mine.port && read(at),
    () => mine.port?.now() ?? 0,
  )
  letGo = () => {
    mine.port.end()
    mine.port = null
    mine.transports.end()
    mine.questions.end()
  }
  return mine.port
}

/** Without a client and an answer to wait for nothing stays open. */
function stop() {
  if (port === null || listeners.size > 0 || askers.size > 0) return
  handDown()
  letGo()
  port = null
  transports = null
  questions = null
  unread = 0
  isMoreReady = false
  texts.clear()
  clearInterval(keepAlive)
  exits.remove(exit)
}

// Also with nothing held or asked: what was left or given back last may still be on its way.
function exit() {
  if (listeners.size === 0) return
  handDown()
  port.exit(EXIT_WAIT_MS)
}

// --- down -----------------------------------------------------------------------------------------------------------

/** Begins a row. Its texts are taken after this: forgetting them in the middle of a row would void its first ones. */
function begin(op, client, n, goDown = flushSoon) {
  if (texts.size > MOST_TEXTS - TEXTS_OF_A_ROW) {
    handDown()
    port.forgetTexts()
    texts.clear()
  }
  if (outboxLength > ROWS - LONGEST_ROW) handDown()
  if (outboxLength === 0) goDown()
  put(op)
  put(client)
  put(n)
}

function put(value) {
  outbox[outboxLength++] = value
}

const flushSoon = () => microtask(flush)

// What nobody waits for gives those who go on now the time to ask for more, which then goes down along with it.
function flushLater() {
  hopsLeft = PATIENCE_HOPS
  microtask(hop)
}

function hop() {
  if (--hopsLeft > 0) microtask(hop)
  else flush()
}

/** All rows go down, and what the process can answer by itself is read at once. */
function flush() {
  if (outboxLength === 0) return
  if (isReading || unread > 0) return handDown()
  if (filled(port.submit(outbox, takeLength(), inbox))) answers(inbox[CLOCK])
}

/** All rows go down; whoever reads next, or reads now, reads what comes of it. */
function handDown() {
  if (outboxLength === 0) return
  port.submit(outbox, takeLength(), NO_ROOM)
  isMoreReady = true
}

function takeLength() {
  const length = outboxLength
  outboxLength = 0
  return length
}

function numberOf(text) {
  if (text === undefined) return 0
  let number = texts.get(text)
  if (number === undefined) {
    number = port.intern(text)
    texts.set(text, number)
  }
  return number
}

function expect(n, asker) {
  askers.set(n, asker)
  if (askers.size === 1) keepAlive.ref()
}

/** Asks for a lease; `asker.granted(…)` or `asker.settle(refusal)` is called once. Returns the request's number. */
function acquire(client, terms, asker) {
  const n = ++lastNumber
  begin(codes.op.Acquire, client, n)
  put(numberOf(terms.key))
  put(terms.limit)
  put(terms.timeoutMs)
  put(terms.intervalMs)
  put(terms.leaseMs)
  put(terms.weight)
  put(terms.priority)
  put(terms.maxWaiting === Infinity ? -1 : terms.maxWaiting)
  put(terms.renew ? 1 : 0)
  put(terms.holdMs)
  put(numberOf(terms.holder))
  put(numberOf(terms.label))
  expect(n, asker)
  return n
}

/** Leaves the line: the asker is told at once. Too late if the answer is here already: then nothing happens. */
function cancel(client, n, refusal = CANCELLED) {
  const asker = askers.get(n)
  if (asker === undefined) return
  // The core still sends the one completion of this request.
  askers.set(n, new Left(client, n))
  begin(codes.op.Cancel, client, n)
  asker.settle(refusal)
}

/** Leaves the line with all that a client still asks for, and gives back what was granted but not told yet. */
function leaveAll(client) {
  for (const hold of holds.values()) if (hold.client === client && !hold.isTold) giveBack(client, hold.n)
  for (const asker of askers.values()) if (asker.client === client && asker.isAsking) cancel(client, asker.n, CLOSED)
}

/** Gives back what nobody wants. The core may have done that already, so no answer is waited for. */
function giveBack(client, n) {
  begin(codes.op.Release, client, n)
}

/**
 * Gives a lease back; `asker.settle(released)` is called once. Nobody needs to wait for it where `isAwaited` is false.
 */
function release(client, n, asker, isAwaited) {
  begin(codes.op.Release, client, n, isAwaited ? flushSoon : flushLater)
  expect(n, asker)
}

/** A sign of life: the event loop turns. */
function beat(client) {
  begin(codes.op.Beat, client, 0)
}

/** Any other request, by its name: texts and numbers in the order of its row. Resolves with the answer or a Refusal. */
function ask(op, client, ...values) {
  const n = ++lastNumber
  begin(codes.op[op], client, n)
  for (const value of values) put(typeof value === 'string' ? numberOf(value) : Number(value))
  return new Promise((settle) => expect(n, { client, n, settle }))
}

// --- up -------------------------------------------------------------------------------------------------------------

/** The core says that completions lie ready. */
function hear() {
  if (isReading || unread > 0) isMoreReady = true
  else if (filled(port.drain(inbox))) answers(inbox[CLOCK])
}

/** The inbox holds so much of what lay ready; false if nothing did. */
function filled(length) {
  unread = length
  isMoreReady = length > 0 && inbox[MORE] === 1
  return length > 0
}

/**
 * Reads the inbox, at a moment of the local clock; whether there is more to read. Only the outermost call gets here.
 */
function read(moment) {
  if (unread === 0 && !filled(port.drain(inbox))) return false
  inbox[CLOCK] = moment
  isReading = true
  let next = HEAD
  const handleRows = () => {
    while (next < unread) {
      const at = next
      next += inbox[at]
      handleRow(at)
    }
  }
  // A row that can't be dealt with doesn't take those behind it along.
  while (next < unread) outside(handleRows)
  isReading = false
  unread = 0
  return isMoreReady
}

function handleRow(at) {
  const n = inbox[at + 3]
  if (inbox[at + 1] === granted) return handleGrant(inbox[at + 2], n, at + 4)
  switch (codes.completion.names[inbox[at + 1]]) {
    case 'Failed': {
      const refusal = refusalAt(at + 4)
      return take(n)?.settle(refusal)
    }
    case 'Released':
      return take(n)?.settle(inbox[at + 4] === 1)
    case 'Lost': {
      const why = port.takeText(inbox[at + 4])
      return holds.get(n)?.lost(why)
    }
    case 'Text': {
      const answer = JSON.parse(port.takeText(inbox[at + 4]))
      return take(n)?.settle(answer)
    }
    case 'Event': {
      const text = port.takeText(inbox[at + 5])
      return listeners.get(inbox[at + 2])?.hear(codes.event.names[inbox[at + 4]], text)
    }
    case 'Done':
      return take(n)?.settle(inbox[at + 4])
    case 'Broken':
      return fail(inbox[at + 2], port.takeText(inbox[at + 4]))
  }
}

function handleGrant(client, n, at) {
  const asker = take(n)
  if (asker === undefined) {
    if (holds.get(n) === undefined) giveBack(client, n)
    return
  }
  const slots = new Array(inbox[at + 5])
  for (let i = 0; i < slots.length; i++) slots[i] = inbox[at + 6 + i]
  const isStandIn = inbox[at + 4] === 1
  asker.granted(n, inbox[at], inbox[at + 1], inbox[at + 2], inbox[at + 3], isStandIn, slots, inbox[CLOCK])
}

function refusalAt(at) {
  const textId = inbox[at + 5]
  const numbers = [inbox[at + 1], inbox[at + 2], inbox[at + 3], inbox[at + 4]]
  return new Refusal(codes.failure.names[inbox[at]], numbers, textId === 0 ? '' : port.takeText(textId))
}

function take(n) {
  const asker = askers.delete(n)
  if (asker !== undefined && askers.size === 0) {
    keepAlive.unref()
    // Not at once: the port is being drained.
    if (listeners.size === 0) microtask(stop)
  }
  return asker
}

/** The client's part of the core has died by a fault of its own: whoever waits for it or relies on it must hear. */
function fail(client, message) {
  const refusal = new Refusal('Unavailable', [], `the limiter's core\n${message}`)
  for (const asker of askers.values()) if (asker.client === client) take(asker.n)?.settle(refusal)
  for (const hold of holds.values()) if (hold.client === client) hold.lost(message)
}

/** Ends the hearing of a client's events. */
function forget(client) {
  letGoOf(listeners.get(client).used)
  listeners.delete(client)
  if (listeners.size === 0) microtask(stop)
}

/** The local clock. A lease may be asked whether it's lost after everything was closed. */
function now() {
  if (port === null) {
    port = start()
    microtask(stop)
  }
  return port.now()
}

module.exports = {
  Refusal,
  CANCELLED,
  holds,
  open,
  acquire,
  cancel,
  leaveAll,
  release,
  giveBack,
  beat,
  ask,
  asking: () => askers.values().filter((asker) => asker.isAsking === true),
  forget,
  now,
  deadlineOf: (client, n) => port?.deadline(client, n) ?? 0,
  sessionOf: (client) => port.sessionText(client),
  forgot: (client) => port.forgot(client),
  forgottenOf: (client) => port.forgotten(client),
}
