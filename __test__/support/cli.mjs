// Runs the command line as its users do: a process of its own.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const CLI = fileURLToPath(new URL('../../cli/index.js', import.meta.url))

// What the machine says of colours and places must not reach the command.
const { REDIS_URL: _, FORCE_COLOR: __, NO_COLOR: ___, ...BARE } = process.env

/**
 * Starts it: `{ child, ended, output }`. `ended` resolves to `{ code, signal, stdout, stderr }`; `output` grows as it
 * writes.
 */
export function startCli(args, { env = {}, bound = 20_000, cwd } = {}) {
  const child = spawn(process.execPath, [CLI, ...args], { cwd, env: { ...BARE, ...env }, timeout: bound })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      output[name] += text
    })
  }
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, ...output }))
  })
  return { child, ended, output }
}

/** Runs it to its end: `{ code, stdout, stderr }`. */
export const cli = (args, options) => startCli(args, options).ended

/** Its answer as JSON; an error if it didn't end well. */
export async function cliJson(args, options) {
  const { code, stdout, stderr } = await cli([...args, '--json'], options)
  if (code !== 0) throw new Error(`exit ${code}: ${stderr}`)
  return JSON.parse(stdout)
}
