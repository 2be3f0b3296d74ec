'use strict'

// Who holds and who waits in this thread, now, by the class of their keys. Looked up when somebody asks, so that it
// costs nothing meanwhile and also has what began before anybody measured.

const bridge = require('../bridge.js')

const nobody = () => ({ limit: 0, held: 0, waiting: 0, oldestWait: 0 })

/** Class → `{ limit, held, waiting, oldestWait }` in seconds, of the requests and leases that `concerns` them. */
function usage(groups, concerns = () => true) {
  const now = bridge.now()
  const all = new Map()
  const of = ({ key, limit }) => {
    const name = groups.of(key)
    const found = all.get(name) ?? nobody()
    all.set(name, found)
    found.limit = limit
    return found
  }
  for (const hold of bridge.holds.values()) if (concerns(hold)) of(hold).held += hold.slots.length
  for (const hold of bridge.asking()) {
    if (!concerns(hold)) continue
    // Of a request that came before anybody measured, the wait counts from the first look.
    hold.askedAt ||= now
    const found = of(hold)
    found.waiting++
    found.oldestWait = Math.max(found.oldestWait, (now - hold.askedAt) / 1000)
  }
  return all
}

module.exports = { nobody, usage }
