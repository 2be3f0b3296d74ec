'use strict'

const { codes } = require('../exits.js')
const { listKeys, readGroups, toJson } = require('../groups.js')
const { groupDetail } = require('../show.js')

module.exports = {
  name: 'status',
  summary: 'who holds and who waits, of some keys or of all',
  usage: '[key…] [--most N]',
  about: [
    'Shows each group with everybody who holds a slot (for how long, until when) and everybody in line.',
    'Without a key it shows all groups that exist; a group is there until five minutes after its last use.',
    'It only reads.',
  ],
  options: {
    most: {
      value: 'N',
      number: true,
      option: 'most',
      help: 'show N holders and waiters of a group at most; default: 50',
    },
  },
  examples: [
    ['concurrency-limit status payments', 'one group'],
    ["concurrency-limit status payments --json | jq '.[0].holders[].label'", 'for programs'],
  ],
  exits: [],
  async run({ values, positionals, withLimiter, out, integer }) {
    const most = integer('most', values.most ?? 50, 1, 100_000)
    const groups = await withLimiter(async (limiter) => {
      const keys = positionals.length > 0 ? positionals : (await listKeys(limiter)).keys
      return readGroups(limiter, keys)
    })
    if (values.json) out.json(groups.map(toJson))
    else if (groups.length === 0) out.line('nobody holds and nobody waits: there are no groups')
    else for (const group of groups) out.lines(groupDetail(group, out.look, most), '')
    return groups.some(({ error }) => error !== undefined) ? codes.protocol : codes.ok
  },
}
