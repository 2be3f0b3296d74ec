'use strict'

// What the numbers in the bridge's rows stand for. The binary exports them (`crates/node/src/codes.rs`): here are only
// names.

const { loadBinary } = require('./native.js')

let codes

/**
 * `{ op, completion, failure, event, order, transportEvent }`, each with its numbers by name and its names by number.
 */
function loadCodes() {
  if (codes !== undefined) return codes
  const { Op, Completion, Failure, ConnectionEvent, TransportOrder, TransportEvent } = loadBinary()
  const all = {
    op: Op,
    completion: Completion,
    failure: Failure,
    event: ConnectionEvent,
    order: TransportOrder,
    transportEvent: TransportEvent,
  }
  codes = Object.freeze(Object.fromEntries(Object.entries(all).map(([kind, numbers]) => [kind, withNames(numbers)])))
  return codes
}

function withNames(numbers) {
  const names = []
  for (const [name, number] of Object.entries(numbers)) names[number] = name
  return Object.freeze({ ...numbers, names: Object.freeze(names) })
}

module.exports = { loadCodes }
