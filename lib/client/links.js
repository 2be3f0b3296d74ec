'use strict'

// The links over one client. Each is told once that the client is ready, and once that it has ended.

class Links {
  #links = new Set()

  add(link) {
    this.#links.add(link)
  }

  delete(link) {
    this.#links.delete(link)
  }

  ready() {
    for (const link of this.#links) link.ready()
  }

  // A link removes itself when it is told: hence the copies.
  down(why) {
    for (const link of [...this.#links]) link.down(why)
  }

  ended(why) {
    for (const link of [...this.#links]) link.ended(why)
  }
}

module.exports = { Links }
