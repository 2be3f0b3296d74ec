// Load from a process of its own (load.worker.mjs), and how many were inside at once.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const WORKER = fileURLToPath(new URL('./traffic.worker.mjs', import.meta.url))

/** `granted()`: how often it was let in so far. `stop()`: `{ intervals, failures }`. `kill()`. */
export function startLoad(options, config, tasks) {
  const child = fork(WORKER, [JSON.stringify({ options, config, tasks })])
  let granted = 0
  const told = new Promise((resolve) => {
    child.on('message', (message) => {
      if (message.intervals === undefined) granted = message.granted
      else resolve(message)
    })
  })
  return {
    granted: () => granted,
    stop: () => {
      child.send('stop')
      return told
    },
    kill: () => child.kill('SIGKILL'),
  }
}

/** The most that were inside at one moment. */
export function mostAtOnce(intervals) {
  // At one moment, who leaves goes first.
  const steps = intervals.flatMap(([begin, end]) => [
    [begin, 1],
    [end, -1],
  ])
  steps.sort(([a, up], [b, down]) => a - b || up - down)
  let [inside, most] = [0, 0]
  for (const [, step] of steps) {
    inside += step
    most = Math.max(most, inside)
  }
  return most
}
