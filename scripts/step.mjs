// Runs one outside command as a named, timed and bounded step, without standard input.
//
// A step that overruns its bound is ended with everything that it started: each runs in a process group of its own.
// Nothing here knows what the steps are for.
import { spawn } from 'node:child_process'

const running = new Set()

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  process.once(signal, () => {
    for (const child of running) endGroup(child, signal)
    process.exit(code)
  })
}

const onWindows = process.platform === 'win32'

function endGroup(child, signal) {
  try {
    process.kill(onWindows ? child.pid : -child.pid, signal)
  } catch {
    // it has ended already
  }
}

/** Resolves to the exit code; 124 when the step took longer than `minutes`, 127 when it could not start. */
export function run(command, args, { minutes = 15, env = {} } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: !onWindows,
      shell: onWindows, // npm and npx are batch files there
      env: { ...process.env, ...env },
    })
    running.add(child)
    let overrun = false
    const bound = setTimeout(() => {
      overrun = true
      endGroup(child, 'SIGKILL')
    }, minutes * 60_000)
    const settle = (code) => {
      clearTimeout(bound)
      running.delete(child)
      resolve(code)
    }
    child.once('error', (error) => {
      console.error(`${command}: ${error.message}`)
      settle(127)
    })
    child.once('exit', (code, signal) => {
      if (overrun) console.error(`${command} was ended: it took longer than ${minutes} minutes`)
      settle(overrun ? 124 : (code ?? (signal ? 1 : 0)))
    })
  })
}

/** Runs `work` under a heading and says how long it took; resolves to what `work` resolves to. */
export async function timed(name, work) {
  const started = performance.now()
  console.log(`\n── ${name}`)
  const result = await work()
  console.log(`── ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return result
}

/** One step after the other, also past a failure; ends the process with 0 only when all succeeded. */
export async function runAll(steps) {
  const failed = []
  for (const [name, command, args, options] of steps) {
    if ((await timed(name, () => run(command, args, options))) !== 0) failed.push(name)
  }
  console.log(failed.length === 0 ? '\nall good' : `\nFAILED: ${failed.join(', ')}`)
  process.exit(failed.length === 0 ? 0 : 1)
}
