'use strict'

// What is done when the process (or worker) exits: one listener for all copies of this package, however often it is
// loaded. A test runner that loads modules anew would add a listener each time, up to a warning of Node.js.

const WORKS = Symbol.for('concurrency-limit.exits') // on `process`, shared by versions: a Set of functions

/** Does it now, once or more often. */
function run() {
  for (const work of [...(process[WORKS] ?? [])]) work()
}

/** From now on `work` is called at the exit; it must not throw. */
function add(work) {
  if (process[WORKS] === undefined) {
    Object.defineProperty(process, WORKS, { value: new Set() })
    process.on('exit', run)
    // Deno.exit() tells Node's listeners nothing. In jsdom and its like there may be an unload that ends no process.
    if (process.versions.deno !== undefined) globalThis.addEventListener('unload', run)
  }
  process[WORKS].add(work)
}

function remove(work) {
  process[WORKS]?.delete(work)
}

module.exports = { add, remove, run }
