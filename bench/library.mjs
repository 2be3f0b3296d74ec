// What calls cost Redis, by its own count (µs of `fcall` and `evalsha` in `INFO commandstats`): each load pipelined
// over one connection, all texts and ways in turn, several rounds, medians. `--rounds 9`, `--only lone`, and `--text
// file`, as often as wanted: another text of the library, to be compared with the one that this version brings.
//
// It lays out commands by itself, as docs/protocol.md says; what they answer is checked, so that a wrong text isn't a
// fast one. `REDIS_SERVER_BIN` names the server: where it has no functions only `EVALSHA` is measured.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { ask, median } from './measure.mjs'
import { startRedis } from './redis.mjs'

const CLAIM = 5000
const LEASE = 60_000
const terms = (limit) => `${limit} 1 0 ${LEASE} ${CLAIM} -1 -1 -1 `
const KEYS = ['', ':ends', ':gaps', ':queue']

/** A connection that sends many commands at once and counts replies. */
async function connection(url) {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await new Promise((resolve) => socket.once('connect', resolve))
  return {
    /** Sends commands, each a list of words; resolves to the whole text of the replies when `PING` is answered. */
    async send(commands) {
      const encode = (words) =>
        `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`).join('')}`
      let said = ''
      const done = new Promise((resolve) => {
        const hear = (bytes) => {
          said += bytes.toString('latin1')
          if (!/\+PONG\r\n$|\$4\r\npong\r\n\$0\r\n\r\n$/.test(said.slice(-30))) return // The second where it's subscribed.
          socket.off('data', hear)
          resolve(said)
        }
        socket.on('data', hear)
      })
      socket.write([...commands, ['PING']].map(encode).join(''))
      return done
    },
    close: () => socket.end(),
  }
}

/** Calls by `session`, as one command for the groups of these keys: `groups` is a list of [key, [verb words]…]. */
function command(run, session, groups) {
  const names = groups.flatMap(([key]) => KEYS.map((end) => `cl:{${key}}${end}`))
  const calls = groups.flatMap(([, ...calls]) => [calls.length, ...calls.flat()])
  const acquires = groups.some(([, ...calls]) => calls.some(([verb]) => verb === 'acquire'))
  return [...run(acquires), names.length, ...names, `${session} 1 1 6000 cl:push:`, '00000000000000ff', ...calls]
}

const acquire = (limit, ids) => ['acquire', 1, ids.length, terms(limit), ...ids]
const release = (ids) => ['release', ids.length, ...ids.map((id) => `l${id}`)]
const [A, B] = ['000000000000000a', '000000000000000b']

/** Ids of a session, from one number on. */
const ids = (session, from, many) => Array.from({ length: many }, (_, n) => `${session}-${from + n}`)

/** Pairs that find room: `many` a call, `groups` in turn, while `held` others are held. */
function uncontended(title, { many = 1, groups = 1, held = 0, together = false }) {
  return {
    title,
    prepare: (run) =>
      held === 0
        ? []
        : Array.from({ length: groups }, (_, g) => command(run, B, [[`k${g}`, acquire(1000, ids(B, 1, held))]])),
    *steps(run, pairs) {
      for (let n = 0; n < pairs; n += many) {
        const key = `k${(n / many) % groups}`
        const mine = ids(A, n + 1, many)
        if (together) yield command(run, A, [[key, release(ids(A, n + 1 - many, many)), acquire(1000, mine)]])
        else yield* [command(run, A, [[key, acquire(1000, mine)]]), command(run, A, [[key, release(mine)]])]
      }
    },
  }
}

/** A full group with a line of `line`: each step gives `many` back, which go to the first, and joins as many again. */
function contended(title, { many, line, together, sessions = [A] }) {
  const of = (n) => sessions[Math.floor(n / many) % sessions.length]
  const batch = (n) => ids(of(n), n, many)
  return {
    title,
    prepare: (run) =>
      Array.from({ length: line / many + 1 }, (_, n) =>
        command(run, of(n * many), [['k', acquire(many, batch(n * many))]]),
      ),
    *steps(run, pairs) {
      for (let n = 0; n < pairs; n += many) {
        const [gives, joins] = [release(batch(n)), acquire(many, batch(n + line + many))]
        if (together) yield command(run, of(n), [['k', gives, joins]])
        else yield* [command(run, of(n), [['k', gives]]), command(run, of(n), [['k', joins]])]
      }
    },
  }
}

const LOADS = [
  uncontended('lone', {}),
  uncontended('lone, release and acquire in one call', { together: true }),
  uncontended('lone, 20 others held', { held: 20 }),
  uncontended('lone, 64 groups in turn', { groups: 64 }),
  uncontended('batch of 100', { many: 100 }),
  contended('contended 10 + 10, two calls', { many: 10, line: 200, together: false }),
  contended('contended 10 + 10, one call', { many: 10, line: 200, together: true }),
  contended('contended 1 + 1, two calls', { many: 1, line: 20, together: false }),
  contended('contended 1 + 1, one call', { many: 1, line: 20, together: true }),
  contended('hand-off to another session, two calls', { many: 1, line: 1, together: false, sessions: [A, B] }),
  contended('hand-off to another session, one call', { many: 1, line: 1, together: true, sessions: [A, B] }),
]

/** The text that this version brings, as a server with functions shows it. */
async function ownText(url) {
  const { Limiter } = await import('../index.js')
  const limiter = new Limiter(url)
  await limiter.acquire({ key: 'warm', limit: 1 }).then((lease) => lease.release())
  await limiter.close()
  const said = await ask(url, 'FUNCTION LIST LIBRARYNAME concurrency_limit_* WITHCODE')
  const from = said.indexOf('#!lua')
  return said.slice(said.indexOf('\n', from) + 1, said.lastIndexOf('\r\n'))
}

/** The ways in which the server runs a text: how each begins a command. */
async function waysOf(server, text) {
  const name = /function_name = '(\w+)'/.exec(text)[1]
  const loaded = await server.send([['FUNCTION', 'LOAD', 'REPLACE', `#!lua name=${name}\n${text}`]])
  await server.send([['SCRIPT', 'LOAD', text]])
  const sha = createHash('sha1').update(text).digest('hex')
  const ways = { EVALSHA: () => ['EVALSHA', sha] }
  if (!loaded.startsWith('-')) ways.FCALL = (acquires) => ['FCALL', acquires ? name : `${name}_allow_oom`]
  return ways
}

const used = async (url) =>
  [...(await ask(url, 'INFO commandstats')).matchAll(/cmdstat_(?:fcall|evalsha):calls=\d+,usec=(\d+)/g)].reduce(
    (all, [, usec]) => all + Number(usec),
    0,
  )

const string = { type: 'string', multiple: true }
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, only: { type: 'string', default: '' }, text: string },
})
const { url, stop } = await startRedis()
try {
  const server = await connection(url)
  const listener = await connection(url)
  await listener.send([['SUBSCRIBE', `cl:push:${A}`, `cl:push:${B}`]])
  const texts = values.text
    ? values.text.map((file) => [file, readFileSync(file, 'utf8')])
    : [['own', await ownText(url)]]
  const runs = []
  for (const [name, text] of texts)
    for (const [way, run] of Object.entries(await waysOf(server, text))) runs.push([`${name} ${way}`, run])
  const table = {}
  for (const { title, prepare, steps } of LOADS.filter(({ title }) => title.includes(values.only))) {
    const figures = runs.map(() => [])
    for (let round = 0; round < Number(values.rounds); round++)
      for (const [at, [, run]] of runs.entries()) {
        await server.send([['FLUSHALL'], ...prepare(run)])
        const commands = [...steps(run, 2000)]
        const before = await used(url)
        const said = await server.send(commands)
        if (/^-|stale|failed|\n-/.test(said)) throw new Error(`${title}: ${said.slice(0, 300)}`)
        figures[at].push(((await used(url)) - before) / 2000)
      }
    table[title] = Object.fromEntries(runs.map(([name], at) => [name, Number(median(figures[at]).toFixed(1))]))
    console.error(title, table[title])
  }
  console.table(table)
  server.close()
  listener.close()
} finally {
  stop()
}
