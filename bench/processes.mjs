// Several processes that do one workload's work at the same time, and meet before they start.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { now } from './measure.mjs'

const ONE = fileURLToPath(new URL('one.mjs', import.meta.url))
const START_AFTER_MS = 50

/** Runs `work` of a workload in child processes, one for each share; what each gave. */
export async function together(name, system, url, shares) {
  const ready = []
  const meet = (child) => {
    if (ready.push(child) < shares.length) return
    const from = now() + START_AFTER_MS
    for (const one of ready) one.send({ from })
  }
  const children = shares.map((share) =>
    fork(ONE, [name, system, url, JSON.stringify(share)], { timeout: 300_000, serialization: 'advanced' }),
  )
  const answers = children.map(
    (child) =>
      new Promise((resolve, reject) => {
        let answer
        child.on('message', (message) => {
          if (message.ready) meet(child)
          else answer = message
        })
        child.once('exit', (code, signal) => {
          answer ? resolve(answer.work) : reject(new Error(`${name} ${system}: ended with ${signal ?? code}`))
        })
      }),
  )
  try {
    return await Promise.all(answers)
  } finally {
    for (const child of children) child.kill()
  }
}

/** In a child: waits until all are ready; the moment from which on they measure. */
export function meet() {
  return new Promise((resolve) => {
    process.once('message', ({ from }) => resolve(from))
    process.send({ ready: true })
  })
}
