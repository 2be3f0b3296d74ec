'use strict'

// The links that go over one client: each hears once that it may begin, and once that it's over.

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

  // Each of them leaves while it hears of its end.
  down(why) {
    for (const link of [...this.#links]) link.down(why)
  }

  ended(why) {
    for (const link of [...this.#links]) link.ended(why)
  }
}

module.exports = { Links }
