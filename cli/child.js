'use strict'

// A command as a child process: it has our input and output, gets our signals, and is ended when the lease is lost.

const { spawn } = require('node:child_process')
const { constants } = require('node:os')
const { codes } = require('./exits.js')

const PASSED_ON = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2']
// A terminal sends these to all foreground processes, so the command has got them already.
const TYPED = ['SIGINT', 'SIGQUIT']

const codeOfSignal = (signal) => 128 + constants.signals[signal]

/** Calls `heard(signal)` for each signal that is to be passed on; gives a function that ends this. */
function onSignals(heard) {
  const listeners = PASSED_ON.filter((signal) => signal in constants.signals).map((signal) => {
    const listener = () => heard(signal)
    process.on(signal, listener)
    return () => process.off(signal, listener)
  })
  return () => {
    for (const leave of listeners) leave()
  }
}

class Child {
  #process
  #hasTerminal
  #grace
  /** Resolves to the exit code as a shell tells it. */
  ended

  constructor([command, ...args], { env, hasTerminal }) {
    this.#hasTerminal = hasTerminal
    this.#process = spawn(command, args, { env, stdio: 'inherit' })
    this.ended = new Promise((resolve, reject) => {
      this.#process.once('error', (error) => {
        if (this.#process.pid === undefined) reject(startError(command, error))
      })
      this.#process.once('exit', (code, signal) => {
        clearTimeout(this.#grace)
        resolve(code ?? codeOfSignal(signal))
      })
    })
  }

  pass(signal) {
    if (!(this.#hasTerminal && TYPED.includes(signal))) this.#process.kill(signal)
  }

  /** SIGTERM now, SIGKILL when it is still there after `graceMs`. */
  end(graceMs) {
    this.#process.kill('SIGTERM')
    this.#grace ??= setTimeout(() => this.#process.kill('SIGKILL'), graceMs)
  }
}

function startError(command, error) {
  const exit = error.code === 'ENOENT' ? codes.notFound : codes.notExecutable
  return Object.assign(new Error(`${command} can't be started: ${error.message}`), { code: error.code, exit })
}

module.exports = { Child, codeOfSignal, onSignals }
