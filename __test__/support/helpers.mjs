// What the tests of the limiter share: waiting for a state within a bound, raw commands to Redis, and other processes
// that do what they are told (worker.mjs). Servers come from programs.mjs.
import { fork } from 'node:child_process'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'

export { runNode, startRedis } from './programs.mjs'

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url))

/** Looks every 5 ms until `look` gives something true, and gives that. */
export async function until(look, what, boundMs = 10_000) {
  const end = performance.now() + boundMs
  for (;;) {
    const seen = await look()
    if (seen) return seen
    if (performance.now() > end) throw new Error(`not within ${boundMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/**
 * How late a busy machine makes this process: `longest()` is the longest pause between two turns of a timer of 1 ms
 * since the start, in ms. What is to happen at a moment, and does so by a timer, may come later by as much.
 */
export function watchPauses() {
  let last = performance.now()
  let longest = 0
  const turn = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  const timer = setInterval(turn, 1)
  return {
    longest: () => {
      turn()
      return longest
    },
    stop: () => clearInterval(timer),
  }
}

/** What the promise rejects with; an error if it doesn't. */
export function rejection(promise) {
  return promise.then(
    (value) => Promise.reject(new Error(`resolved with ${value}`)),
    (error) => error,
  )
}

/** Sends one command to Redis and gives its answer: text, number, null or a list. */
export async function redis(port, ...args) {
  const socket = connect(port, '127.0.0.1')
  const parts = args.map((arg) => `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`)
  socket.write(`*${args.length}\r\n${parts.join('')}`)
  let data = ''
  try {
    for await (const chunk of socket.setEncoding('utf8')) {
      data += chunk
      const answer = parse(Buffer.from(data))
      if (answer === undefined) continue
      if (answer.value instanceof Error) throw answer.value
      return answer.value
    }
    throw new Error('the connection ended')
  } finally {
    socket.destroy()
  }
}

/** `{ value, rest }` of a whole RESP2 answer; undefined while it isn't whole. */
function parse(bytes) {
  const end = bytes.indexOf('\r\n')
  if (end < 0) return undefined
  const line = bytes.toString('utf8', 1, end)
  const rest = bytes.subarray(end + 2)
  switch (String.fromCharCode(bytes[0])) {
    case '+':
      return { value: line, rest }
    case '-':
      return { value: new Error(line), rest }
    case ':':
      return { value: Number(line), rest }
    case '$': {
      const length = Number(line)
      if (length < 0) return { value: null, rest }
      if (rest.length < length + 2) return undefined
      return { value: rest.toString('utf8', 0, length), rest: rest.subarray(length + 2) }
    }
    default:
      return parseList(Number(line), rest)
  }
}

function parseList(length, bytes) {
  const value = []
  let rest = bytes
  while (value.length < length) {
    const item = parse(rest)
    if (item === undefined) return undefined
    value.push(item.value)
    rest = item.rest
  }
  return { value, rest }
}

/** Makes the server forget our library, functions (since Redis 7.0) and script. */
export async function forgetLibrary(port) {
  await redis(port, 'SCRIPT', 'FLUSH')
  await redis(port, 'FUNCTION', 'FLUSH').catch(() => {})
}

/** How many commands have run our library so far, or asked for it. */
export async function scriptCalls(port) {
  const stats = await redis(port, 'INFO', 'commandstats')
  const calls = [...stats.matchAll(/cmdstat_(?:eval|evalsha|fcall):calls=(\d+)/g)]
  return calls.reduce((sum, [, count]) => sum + Number(count), 0)
}

/**
 * A process with one Limiter. `call(op, …)` asks it for one of the operations of worker.mjs; a rejection there is one
 * here, with the same code. `kill(signal)`; `stop()` ends it by itself and resolves when it's gone.
 */
export function startProcess(options) {
  const child = fork(WORKER, [JSON.stringify(options)])
  const asked = new Map()
  let last = 0
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.on('message', ({ id, value, error }) => {
    const { resolve, reject } = asked.get(id)
    asked.delete(id)
    if (error === undefined) resolve(value)
    else reject(Object.assign(new Error(error.message), error))
  })
  return {
    pid: child.pid,
    ended,
    kill: (signal) => child.kill(signal),
    call: (op, ...args) =>
      new Promise((resolve, reject) => {
        const id = ++last
        asked.set(id, { resolve, reject })
        child.send({ id, op, args })
      }),
    stop: () => {
      if (child.connected) child.disconnect()
      return ended
    },
  }
}
