'use strict'

// The bridge between JavaScript and the core: above it are ordinary promises.
//
// To make a promise, an object or an error natively costs more than a whole request, so the core makes none. Requests
// are rows of numbers in one buffer, and all rows of a turn go down in one call at the end of its microtasks (see
// bridge/outgoing.js). What the process can answer by itself comes back in that call. Other completions wait in the
// core until it wakes this thread, once for many. All are read from one reused buffer in the order in which they were
// made (see bridge/completions.js). No rule of the limiter is here.
//
// There is one port for each module instance, so a worker thread has its own, and only while a client is open. The
// event loop is kept alive exactly while an answer is awaited.

const completions = require('./bridge/completions.js')
const outgoing = require('./bridge/outgoing.js')
const { loadCodes } = require('./codes.js')
const exits = require('./exits.js')
const { loadBinary } = require('./native.js')
const { outside, paced } = require('./pace.js')
const { Questions, Source } = require('./questions.js')
const { clearInterval, microtask, setInterval } = require('./timers.js')
const { Transports } = require('./transport.js')

const { Refusal, askers, expect, giveBack, holds, listeners } = completions
const { begin, put, putText } = outgoing

const INBOX = 8192 // numbers in the buffer of completions
const CLOCK = 0 // it begins with the local clock in ms,
const MORE = 1 // whether more completions are ready,
const HEAD = 2 // and then the rows
const EXIT_WAIT_MS = 200

const CANCELLED = new Refusal('Cancelled', [], '')
const CLOSED = new Refusal('Closed', [], '')

let port = null
let codes = null // since the binary was loaded: see codes.js
let transports = null // the clients of users
let questions = null // the functions of users
let letGo = null // ends the port
let keepAlive = null
const inbox = new Float64Array(INBOX)
const NO_ROOM = new Float64Array(0)
let unread = 0 // how much of the inbox is filled and not read to its end
let isReading = false
let isMoreReady = false // completions are ready in the core, and it won't wake this thread for them
let answers = null // reads them, with pauses for the event loop: see pace.js
let lastNumber = 0

/** Opens a client; `hear(event, text)` is called for each event of its connection. */
function open(options, hear) {
  port ??= start()
  const used = { transport: options.client === undefined ? undefined : transports.use(options.client), asked: [] }
  try {
    const client = port.open({ ...withNumbers(options, used.asked), client: used.transport })
    listeners.set(client, { hear, used })
    return client
  } catch (error) {
    letGoOf(used)
    stopSoon()
    throw error
  }
}

/** The options with a number instead of each function of the user's; these numbers are added to `asked`. */
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
  keepAlive = setInterval(() => {}, 0x7fffffff)
  keepAlive.unref()
  exits.add(exit)
  // The core keeps these functions for as long as the port exists, so they must not refer to it directly. After the
  // port's end its calls are ignored; links over client transports end later, each by itself.
  const mine = { port: null, transports: null, questions: null }
  const wake = () => port !== null && port === mine.port && readSoon()
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
  outgoing.attach(mine.port, { flush, handDown })
  completions.attach(mine.port, codes, keepAlive, stopSoon)
  return mine.port
}

// Not at once: the port may be in the middle of a call.
function stopSoon() {
  microtask(stop)
}

/** Without a client and without an awaited answer nothing stays open. */
function stop() {
  if (port === null || listeners.size > 0 || askers.size > 0) return
  handDown()
  letGo()
  port = null
  transports = null
  questions = null
  unread = 0
  isMoreReady = false
  outgoing.detach()
  completions.detach()
  clearInterval(keepAlive)
  exits.remove(exit)
}

// Also when nothing is held or asked: the last cancellations and releases may not have been sent yet.
function exit() {
  if (listeners.size === 0) return
  handDown()
  port.exit(EXIT_WAIT_MS)
}

// --- down -----------------------------------------------------------------------------------------------------------

/** Sends all rows. What the process can answer by itself is read at once. */
function flush() {
  if (outgoing.isEmpty()) return
  if (isReading || unread > 0) return handDown()
  if (filled(outgoing.submit(inbox))) answers(inbox[CLOCK])
}

/** Sends all rows. The answers are read by the reading that is under way, or the next one. */
function handDown() {
  if (outgoing.isEmpty()) return
  outgoing.submit(NO_ROOM)
  isMoreReady = true
}

/** Asks for a lease; `asker.granted(…)` or `asker.settle(refusal)` is called once. Returns the request's number. */
function acquire(client, terms, asker) {
  const n = ++lastNumber
  begin(codes.op.Acquire, client, n)
  putText(terms.key)
  put(terms.limit)
  put(terms.timeoutMs)
  put(terms.intervalMs)
  put(terms.leaseMs)
  put(terms.weight)
  put(terms.priority)
  put(terms.maxWaiting === Infinity ? -1 : terms.maxWaiting)
  put(terms.renew ? 1 : 0)
  put(terms.holdMs)
  put(terms.keepMs)
  putText(terms.holder)
  putText(terms.label)
  expect(n, asker)
  return n
}

/** Cancels a request: the asker is told at once. Nothing happens when its answer has come already. */
function cancel(client, n, refusal = CANCELLED) {
  const asker = completions.leave(client, n)
  if (asker === undefined) return
  begin(codes.op.Cancel, client, n)
  asker.settle(refusal)
}

/** Cancels all requests of a client, and gives back what was granted but not told yet. */
function leaveAll(client) {
  for (const hold of holds.values()) if (hold.client === client && !hold.isTold) giveBack(client, hold.n)
  for (const asker of askers.values()) if (asker.client === client && asker.isAsking) cancel(client, asker.n, CLOSED)
}

/** Gives a lease back; `asker.settle(released)` is called once. `isAwaited`: somebody waits for that. */
function release(client, n, asker, isAwaited) {
  begin(codes.op.Release, client, n, isAwaited ? outgoing.flushSoon : outgoing.flushLater)
  expect(n, asker)
}

/** Tells the core that the event loop turns. */
function beat(client) {
  begin(codes.op.Beat, client, 0)
}

/** Any other request, by its name: texts and numbers in the order of its row. Resolves with the answer or a Refusal. */
function ask(op, client, ...values) {
  const n = ++lastNumber
  begin(codes.op[op], client, n)
  for (const value of values) {
    if (typeof value === 'string') putText(value)
    else put(Number(value))
  }
  return new Promise((settle) => expect(n, { client, n, settle }))
}

// --- up -------------------------------------------------------------------------------------------------------------

/** The core says that completions are ready. */
function readSoon() {
  if (isReading || unread > 0) isMoreReady = true
  else if (filled(port.drain(inbox))) answers(inbox[CLOCK])
}

/** So much of the inbox was filled; false if nothing. */
function filled(length) {
  unread = length
  isMoreReady = length > 0 && inbox[MORE] === 1
  return length > 0
}

/** Reads the inbox, at a moment of the local clock; whether there is more to read. Calls of it are never nested. */
function read(moment) {
  if (unread === 0 && !filled(port.drain(inbox))) return false
  isReading = true
  let next = HEAD
  const handleRows = () => {
    while (next < unread) {
      const at = next
      next += inbox[at]
      completions.handle(inbox, at, moment)
    }
  }
  // After an exception in one row the next ones are still handled.
  while (next < unread) outside(handleRows)
  isReading = false
  unread = 0
  return isMoreReady
}

/** The client's events aren't passed on any more. */
function forget(client) {
  letGoOf(listeners.get(client).used)
  listeners.delete(client)
  if (listeners.size === 0) stopSoon()
}

/** The local clock. A lease may be asked whether it's lost after everything was closed. */
function now() {
  if (port === null) {
    port = start()
    stopSoon()
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
