// Watches the demo from outside: it counts who went in and who came out, and never asks the limiter.
//
// Events of several processes may arrive a little out of order. The live picture takes them as they come; the
// verdict sorts them by their own time first.

const percentile = (sorted, share) =>
  sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]

export class Observer {
  #events = []
  #live

  constructor(groups) {
    this.groups = groups
    this.#live = new Map(groups.map(({ name }) => [name, { inside: new Map(), waiting: 0, served: 0 }]))
  }

  see(event) {
    this.#events.push(event)
    const group = this.#live.get(event.group)
    if (event.what === 'asks') group.waiting += 1
    if (event.what === 'enters') {
      group.waiting -= 1
      group.inside.set(event.slot, event.worker)
    }
    if (event.what === 'leaves') {
      group.served += 1
      if (group.inside.get(event.slot) === event.worker) group.inside.delete(event.slot)
    }
  }

  /** What is seen now: `{ inside: Map slot → worker, waiting, served }` of one group. */
  live(name) {
    return this.#live.get(name)
  }

  /** How it was for one group: the most that were inside at once, whether two had one slot, how long it took. */
  verdict({ name, limit }) {
    const events = this.#events.filter((event) => event.group === name).sort((a, b) => a.at - b.at)
    const taken = new Set()
    const asked = new Map()
    const waits = []
    let inside = 0
    let most = 0
    let clashes = 0
    for (const { what, slot, worker, number, at } of events) {
      const runner = `${worker}.${number}`
      if (what === 'asks') asked.set(runner, at)
      if (what === 'enters') {
        waits.push(at - asked.get(runner))
        inside += 1
        most = Math.max(most, inside)
        if (slot < 1 || slot > limit || taken.has(slot)) clashes += 1
        taken.add(slot)
      }
      if (what === 'leaves') {
        inside -= 1
        taken.delete(slot)
      }
    }
    waits.sort((a, b) => a - b)
    return {
      name,
      limit,
      most,
      served: waits.length,
      p50: percentile(waits, 0.5),
      p99: percentile(waits, 0.99),
      held: most <= limit && clashes === 0 && inside === 0,
    }
  }
}
