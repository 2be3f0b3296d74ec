'use strict'

const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const { expectPositionals } = require('../arguments.js')
const { codeOfSignal } = require('../child.js')
const { codes } = require('../exits.js')
const { listKeys, readGroups, toJson } = require('../groups.js')
const { duration, safe } = require('../text.js')

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']

/** Waits; sooner over when the signal aborts. */
const pause = (ms, signal) => sleep(ms, undefined, { signal }).catch(() => {})

function figuresOf(group) {
  if (group.error !== undefined) return toJson(group)
  const { key, limit, held, waiting, oldestWait } = group
  return { key, limit, held, waiting, oldestWait }
}

/** A line for each group whose figures have changed, for logs and pipes. */
async function plain(read, { out, isJson, rounds, intervalMs, signal }) {
  const known = new Map()
  for (let round = 1; ; round++) {
    const at = new Date().toISOString()
    for (const figures of (await read()).groups.map(figuresOf)) {
      const { key, error, limit, held, waiting, oldestWait } = figures
      const state = error === undefined ? `${held}/${limit} ${waiting}` : error.message
      if (known.get(key) === state) continue
      known.set(key, state)
      if (isJson) out.jsonLine({ at, ...figures })
      else if (error !== undefined) out.line(`${at} ${safe(error.message)}`)
      else {
        const wait = oldestWait === null ? '' : `, the longest for ${duration(oldestWait)}`
        out.line(`${at} ${safe(key)}: ${held}/${limit} held, ${waiting} waiting${wait}`)
      }
    }
    if (round === rounds) return
    await pause(intervalMs, signal)
    if (signal.aborted) return
  }
}

/** The full screen, until the user quits. */
async function fullScreen(read, limiter, { out, intervalMs, signal, quit }) {
  const { State } = require('../watch/state.js')
  const { Terminal } = require('../watch/terminal.js')
  const { screen } = require('../watch/view.js')
  const state = new State()
  let note = ''
  const draw = () => terminal.draw(screen(state, out.look, terminal.size, note))
  const act = {
    quit: () => quit(),
    interrupt: () => quit('SIGINT'),
    suspend: () => terminal.suspend(),
    async release(target) {
      const released = await limiter.release(target)
      state.message = released ? `released ${target.leaseId}` : 'that lease had ended already'
      await refresh()
    },
  }
  const refresh = async () => {
    try {
      const { groups, more } = await read()
      state.update(groups)
      note = more ? 'there are more groups: name a pattern, or raise --most' : ''
    } catch (error) {
      note = error.message
    }
    draw()
  }
  const pressed = (key) => {
    const wish = state.press(key)
    if (typeof wish === 'string') return act[wish]()
    draw()
    if (wish === undefined) return undefined
    return act.release(wish.release).catch((error) => {
      state.message = error.message
      draw()
    })
  }
  state.update((await read()).groups) // an error here is for the command line to tell
  const terminal = new Terminal(process.stdin, process.stdout, { pressed, resized: draw })
  terminal.enter()
  const looking = async () => {
    for (draw(); !signal.aborted; await refresh()) await pause(intervalMs, signal)
  }
  try {
    // After quitting, no answer of Redis is waited for.
    await Promise.race([looking(), once(signal, 'abort')])
  } finally {
    terminal.close()
  }
}

module.exports = {
  name: 'watch',
  summary: 'the groups, live; free a slot after a question',
  usage: '[pattern]',
  about: [
    'Shows the groups on the whole screen and looks again each second: move with the arrows, open a group with Enter,',
    'filter with /, sort with s, free a slot with x (it asks first), quit with q.',
    'Where the output is no terminal, it writes a line whenever the figures of a group change.',
  ],
  options: {
    interval: { value: 'S', number: true, help: 'seconds between two looks, 0.2 to 3600; default: 1' },
    most: { value: 'N', number: true, help: 'watch N groups at most, 1 to 10000; default: 500' },
    rounds: { value: 'N', number: true, help: 'without a terminal: end after N looks; default: never' },
  },
  examples: [
    ["concurrency-limit watch 'render:*'", 'some of the groups'],
    ['concurrency-limit watch --json --interval 10 >> limits.log', 'a line of JSON for each change, for a log'],
  ],
  others: [['128+N', 'ended by signal N (130: Ctrl-C)']],
  exits: [],
  async run({ values, positionals, withLimiter, out, integer, seconds }) {
    const [pattern] = expectPositionals(positionals, 0, 1, 'the pattern')
    const intervalMs = seconds('interval', values.interval ?? 1, 0.2, 3600) * 1000
    const most = integer('most', values.most ?? 500, 1, 10_000)
    const rounds = values.rounds === undefined ? Infinity : integer('rounds', values.rounds, 1, 1e9)
    const ending = new AbortController()
    let code = codes.ok
    const quit = (signal) => {
      if (signal !== undefined) code = codeOfSignal(signal)
      ending.abort()
    }
    for (const signal of SIGNALS) process.on(signal, () => quit(signal))
    const isLooked = process.stdin.isTTY && process.stdout.isTTY && !values.json
    await withLimiter(async (limiter) => {
      const read = async () => {
        const { keys, more } = await listKeys(limiter, pattern, most)
        return { groups: await readGroups(limiter, keys), more }
      }
      const options = { out, isJson: values.json, rounds, intervalMs, signal: ending.signal, quit }
      return isLooked ? fullScreen(read, limiter, options) : plain(read, options)
    })
    return code
  },
}
