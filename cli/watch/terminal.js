'use strict'

// The full-screen terminal of `watch`: the alternate screen, no cursor, each key as it is pressed. The terminal is
// restored however this process ends: `exit` also comes after an uncaught error, before that is printed.

const readline = require('node:readline')

const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'

class Terminal {
  #input
  #output
  #isOurs = false
  #leave = () => this.leave()

  /** `pressed(key)` for each key, `resized()` when there is another size or all must be drawn anew. */
  constructor(input, output, { pressed, resized }) {
    this.#input = input
    this.#output = output
    readline.emitKeypressEvents(input)
    input.on('keypress', (_, key) => pressed(key))
    output.on('resize', resized)
    process.on('SIGTSTP', () => this.suspend())
    process.on('SIGCONT', () => {
      this.enter()
      resized()
    })
    process.on('exit', this.#leave)
  }

  get size() {
    return { columns: this.#output.columns || 80, rows: this.#output.rows || 24 }
  }

  enter() {
    if (this.#isOurs) return
    this.#isOurs = true
    this.#input.setRawMode(true)
    this.#output.write(ENTER)
  }

  leave() {
    if (!this.#isOurs) return
    this.#isOurs = false
    this.#output.write(LEAVE)
    this.#input.setRawMode(false)
  }

  /** For good: nothing is read any more. */
  close() {
    this.leave()
    this.#input.pause()
  }

  /** As Ctrl-Z does to programs that leave it to the terminal. */
  suspend() {
    if (process.platform === 'win32') return // nothing is suspended there
    this.leave()
    process.kill(process.pid, 'SIGSTOP')
  }

  draw(lines) {
    if (this.#isOurs) this.#output.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`)
  }
}

module.exports = { Terminal }
