'use strict'

const { randomBytes } = require('node:crypto')
const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const { UsageError, expectPositionals } = require('../arguments.js')
const { codeOfSignal } = require('../child.js')
const { listKeys, readGroups } = require('../groups.js')

const LOOKS_KEPT = 300

/** Reads the groups repeatedly; `latest` has the last result, and the error since. */
function follow(read, history, intervalMs, signal) {
  const latest = { groups: [], more: false, at: null, error: null }
  const look = async () => {
    try {
      Object.assign(latest, await read(), { at: new Date().toISOString(), error: null })
      history.add(latest.groups)
    } catch (error) {
      latest.error = error.message
    }
  }
  const goOn = async () => {
    while (!signal.aborted) {
      await sleep(intervalMs, undefined, { signal }).catch(() => {})
      if (!signal.aborted) await look()
    }
  }
  return { latest, look, goOn }
}

/** The place without user and password. */
function whereOf(url) {
  const { placeOf } = require('../server/place.js')
  const { nodes, path, name } = placeOf(url)
  return [path ?? nodes.map(({ host, port }) => `${host}:${port}`).join(', '), name].filter(Boolean).join(' ')
}

module.exports = {
  name: 'dashboard',
  summary: 'a page for the browser with all groups, live and over time',
  usage: '[pattern]',
  about: [
    'Serves one page on 127.0.0.1: groups, their use over time, who holds and who waits. It looks at Redis for as long as it',
    'runs, and keeps the last 300 looks in memory. Everybody on this machine can read the page.',
    'With --allow-release slots can be freed in the page, with the whole URL only: it has a token.',
  ],
  options: {
    port: { value: 'N', number: true, help: 'the port, 0 to 65535; default: 0, a free one' },
    interval: { value: 'S', number: true, help: 'seconds between two looks, 0.2 to 3600; default: 2' },
    most: { value: 'N', number: true, help: 'show N groups at most, 1 to 10000; default: 500' },
    'allow-release': { help: 'slots may be freed in the page' },
  },
  examples: [
    ['concurrency-limit dashboard', 'prints the URL to open; Ctrl-C ends it'],
    ["concurrency-limit dashboard 'render:*' --port 8080 --allow-release", 'some groups, on a port of your choice'],
  ],
  others: [['128+N', 'ended by signal N (130: Ctrl-C)']],
  exits: [],
  async run({ values, positionals, connection, withLimiter, out, integer, seconds }) {
    const { Dashboard } = require('../dashboard/server.js')
    const { History } = require('../dashboard/history.js')
    const [pattern] = expectPositionals(positionals, 0, 1, 'the pattern')
    const interval = seconds('interval', values.interval ?? 2, 0.2, 3600)
    const most = integer('most', values.most ?? 500, 1, 10_000)
    const wanted = integer('port', values.port ?? 0, 0, 65_535)
    const ending = new AbortController()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => ending.abort(signal))
    return withLimiter(async (limiter) => {
      const read = async () => {
        const { keys, more } = await listKeys(limiter, pattern, most)
        return { groups: await readGroups(limiter, keys), more }
      }
      const history = new History(LOOKS_KEPT)
      const { latest, look, goOn } = follow(read, history, interval * 1000, ending.signal)
      const where = whereOf(connection().url)
      await look()
      if (latest.at === null) throw Object.assign(new Error(latest.error), { code: 'ERR_UNAVAILABLE' })
      const token = randomBytes(24).toString('base64url')
      const release = values['allow-release']
        ? async (target) => {
            const released = await limiter.release(target)
            await look()
            return released
          }
        : undefined
      const dashboard = new Dashboard({ look: () => ({ ...latest, interval, where }), history, release, token })
      const port = await dashboard.listen(wanted).catch((error) => {
        throw new UsageError(`--port: ${error.message}`)
      })
      const url = `http://127.0.0.1:${port}/${release === undefined ? '' : `#token=${token}`}`
      if (values.json) out.jsonLine({ url })
      else out.line(`${url}\n${out.look.pen.dim('Ctrl-C ends it')}`)
      const looking = goOn()
      if (!ending.signal.aborted) await Promise.race([once(ending.signal, 'abort'), looking])
      dashboard.close()
      return codeOfSignal(ending.signal.reason)
    })
  },
}
