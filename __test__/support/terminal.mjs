// Runs the command line on a terminal of its own (on_terminal.py), and reads the screen as one would see it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { CLI } from './cli.mjs'

const ON_TERMINAL = fileURLToPath(new URL('./on_terminal.py', import.meta.url))

/**
 * `{ pid, type(text), resize(columns, rows), text(), ended }`: `text` is all that was written so far, `ended` resolves
 * to the exit code.
 */
export async function onTerminal(args, { env = {}, columns = 100, rows = 30 } = {}) {
  const all = {
    ...process.env,
    TERM: 'xterm-256color',
    LANG: 'C.UTF-8',
    FORCE_COLOR: undefined,
    NO_COLOR: undefined,
    ...env,
  }
  const child = spawn('python3', [ON_TERMINAL, columns, rows, process.execPath, CLI, ...args].map(String), { env: all })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (more) => {
    text += more
  })
  const ended = once(child, 'exit').then(([code]) => code)
  const [line] = await once(child.stderr.setEncoding('utf8'), 'data')
  return {
    pid: Number(line),
    ended,
    text: () => text,
    type: (keys) => child.stdin.write(keys),
    resize: (width, height) => child.stdin.write(`\0resize ${width} ${height}\n`),
  }
}
