'use strict'

const { expectPositionals } = require('../arguments.js')
const { withLimiter } = require('../connection.js')
const { codes } = require('../exits.js')
const { safe, table } = require('../text.js')

const MARKS = { ok: ['green', '✓', 'ok'], note: ['yellow', '!', 'note'], problem: ['red', '✗', 'PROBLEM'] }

function linesOf(findings, { pen, unicode }) {
  const rows = findings.map(({ check, level, says }) => {
    const [colour, sign, word] = MARKS[level]
    return [pen[colour](unicode ? sign : word), check, safe(says)]
  })
  return table(rows, '  ').flatMap((line, i) => {
    const { change } = findings[i]
    return change === undefined ? [line] : [line, `      → ${safe(change)}`]
  })
}

function conclusion(findings) {
  const count = (level) => findings.filter((finding) => finding.level === level).length
  const [problems, notes] = [count('problem'), count('note')]
  if (problems === 0) return `no problems${notes > 0 ? `, ${notes} to think about` : ''}`
  return `${problems} problem${problems > 1 ? 's' : ''}, ${notes} to think about`
}

module.exports = {
  name: 'doctor',
  summary: 'whether this Redis is set up well for limits, and what to change',
  usage: '',
  about: [
    'Looks at the server (every master of a cluster): version, eviction, memory, rights, push, latency, clock, persistence,',
    'replicas. Each finding is ok, a note, or a problem, with what to change. It changes nothing: commands are tried in a',
    'form that does nothing, and what it may not ask it leaves out. Ask as the user that the service has.',
  ],
  examples: [
    ['concurrency-limit doctor', 'a look'],
    ['concurrency-limit doctor --json | jq \'.servers[].findings[] | select(.level == "problem")\'', 'for programs'],
  ],
  exits: ['found'],
  async run({ values, positionals, connection, out }) {
    expectPositionals(positionals, 0, 0)
    const options = connection()
    const prefix = options.keyPrefix ?? 'cl'
    // The package itself connects first: it says best what is wrong with a URL, a certificate or a password.
    await withLimiter(options, async (limiter) => {
      await limiter.status('concurrency-limit-doctor').catch((error) => {
        if (!error.answered) throw error // a refusal is what the findings are about
      })
    })
    const { openServers } = require('../server/servers.js')
    const { factsOf } = require('../doctor/facts.js')
    const { examine } = require('../doctor/checks.js')
    const { kind, servers, close } = await openServers(options)
    try {
      const examined = []
      for (const server of servers) {
        const findings = examine(await factsOf(server, prefix), { kind })
        examined.push({ address: server.address, findings })
      }
      const all = examined.flatMap(({ findings }) => findings)
      const isHealthy = all.every(({ level }) => level !== 'problem')
      if (values.json) out.json({ healthy: isHealthy, servers: examined })
      else {
        for (const { address, findings } of examined)
          out.lines([out.look.pen.bold(address), ...linesOf(findings, out.look)])
        out.line(conclusion(all))
      }
      return isHealthy ? codes.ok : codes.found
    } finally {
      close()
    }
  },
}
