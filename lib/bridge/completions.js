'use strict'

// The completion table: who waits for which answer, who is told of a lost lease, who of a connection's events. It reads
// completions, which are rows of numbers.

const { begin } = require('./outgoing.js')
const { Table } = require('../table.js')

/** A refusal by the core, with the name of its failure; `failure` makes the error from it. */
class Refusal {
  constructor(name, numbers, text) {
    this.name = name
    this.numbers = numbers
    this.text = text
  }
}

/** Takes the place of a cancelled request: a grant that comes nevertheless is given back. */
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

const listeners = new Map() // client → { hear(event, text), used: the user's objects that it uses }
const askers = new Table() // number of a request → { settle(answer), granted(…) }, until its one completion
const holds = new Table() // number of a request → { lost(why) }, while its lease is held
let port = null
let codes = null // see codes.js
let granted = 0 // the number of the most frequent completion
let keepAlive = null // a timer that keeps the event loop alive while an answer is awaited
let onIdle = null // called when nobody waits for anything any more

/** Completions come from this port from now on. */
function attach(toPort, itsCodes, timer, whenIdle) {
  port = toPort
  codes = itsCodes
  granted = codes.completion.Granted
  keepAlive = timer
  onIdle = whenIdle
}

/** There is no port any more. */
function detach() {
  port = null
  keepAlive = null
}

function expect(n, asker) {
  askers.set(n, asker)
  if (askers.size === 1) keepAlive.ref()
}

/** Removes and returns the one that waits for this answer. */
function take(n) {
  const asker = askers.delete(n)
  if (asker !== undefined && askers.size === 0) {
    keepAlive.unref()
    if (listeners.size === 0) onIdle()
  }
  return asker
}

/** The request was cancelled: its asker is returned, and nobody waits for its completion. */
function leave(client, n) {
  const asker = askers.get(n)
  // The core still sends the one completion of this request.
  if (asker !== undefined) askers.set(n, new Left(client, n))
  return asker
}

/** Gives back a lease that nobody wants. The core may have done that already, so the answer isn't awaited. */
function giveBack(client, n) {
  begin(codes.op.Release, client, n)
}

/** Handles the completion at `at` of `rows`; `now` is the local clock. */
function handle(rows, at, now) {
  const n = rows[at + 3]
  if (rows[at + 1] === granted) return handleGrant(rows, at + 4, rows[at + 2], n, now)
  switch (codes.completion.names[rows[at + 1]]) {
    case 'Failed': {
      const refusal = refusalAt(rows, at + 4)
      return take(n)?.settle(refusal)
    }
    case 'Released':
      return take(n)?.settle(rows[at + 4] === 1)
    case 'Lost': {
      const why = port.takeText(rows[at + 4])
      return holds.get(n)?.lost(why)
    }
    case 'Text': {
      const answer = JSON.parse(port.takeText(rows[at + 4]))
      return take(n)?.settle(answer)
    }
    case 'Event': {
      const text = port.takeText(rows[at + 5])
      return listeners.get(rows[at + 2])?.hear(codes.event.names[rows[at + 4]], text)
    }
    case 'Done':
      return take(n)?.settle(rows[at + 4])
    case 'Broken':
      return fail(rows[at + 2], port.takeText(rows[at + 4]))
  }
}

function handleGrant(rows, at, client, n, now) {
  const asker = take(n)
  if (asker === undefined) {
    if (holds.get(n) === undefined) giveBack(client, n)
    return
  }
  const slots = new Array(rows[at + 5])
  for (let i = 0; i < slots.length; i++) slots[i] = rows[at + 6 + i]
  const isStandIn = rows[at + 4] === 1
  asker.granted(n, rows[at], rows[at + 1], rows[at + 2], rows[at + 3], isStandIn, slots, now)
}

function refusalAt(rows, at) {
  const textId = rows[at + 5]
  const numbers = [rows[at + 1], rows[at + 2], rows[at + 3], rows[at + 4]]
  return new Refusal(codes.failure.names[rows[at]], numbers, textId === 0 ? '' : port.takeText(textId))
}

/** The client's session has ended by a bug: everybody who waits for it or holds a lease of it is told. */
function fail(client, message) {
  const refusal = new Refusal('Unavailable', [], `the limiter's core\n${message}`)
  for (const asker of askers.values()) if (asker.client === client) take(asker.n)?.settle(refusal)
  for (const hold of holds.values()) if (hold.client === client) hold.lost(message)
}

module.exports = { Refusal, listeners, askers, holds, attach, detach, expect, leave, giveBack, handle }
