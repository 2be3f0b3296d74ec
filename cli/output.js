'use strict'

// Writes answers to standard output, as text or JSON, and errors to standard error.

const { isUnicode, paint, wantsColour } = require('./text.js')

class Output {
  isJson = false

  constructor({ stdout, stderr, env, platform }) {
    this.stdout = stdout
    this.stderr = stderr
    this.look = { pen: paint(wantsColour(stdout, env)), unicode: isUnicode(env, platform) }
    this.errorPen = paint(wantsColour(stderr, env))
    stdout.on('error', (error) => {
      if (error.code === 'EPIPE') process.exit(0) // the reader has closed the pipe: `… | head -1`
      throw error
    })
    // Nobody to tell what went wrong: the exit code still does, and `run` waits for its command.
    stderr.on('error', () => {})
  }

  line(text) {
    this.stdout.write(`${text}\n`)
  }

  lines(lines, last) {
    this.line((last === undefined ? lines : [...lines, last]).join('\n'))
  }

  /** A whole answer. */
  json(value) {
    this.line(JSON.stringify(value, null, 2))
  }

  /** One of many answers, on a line of its own. */
  jsonLine(value) {
    this.line(JSON.stringify(value))
  }

  warn(text) {
    this.stderr.write(`${text}\n`)
  }

  hint(text) {
    if (!this.isJson) this.warn(this.errorPen.dim(text))
  }

  error(error, message, exit) {
    if (!this.isJson) return this.warn(`${this.errorPen.red('concurrency-limit:')} ${message}`)
    const told = error.toJSON?.() ?? { name: error.name, code: error.code }
    return this.warn(JSON.stringify({ error: { ...told, message }, exit }))
  }
}

module.exports = { Output }
