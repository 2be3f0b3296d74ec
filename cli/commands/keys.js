'use strict'

const { expectPositionals } = require('../arguments.js')
const { codes } = require('../exits.js')
const { listKeys, readGroups, toJson } = require('../groups.js')
const { groupTable } = require('../show.js')

module.exports = {
  name: 'keys',
  summary: 'the groups that exist, a line each',
  usage: '[pattern]',
  about: [
    'Lists the groups with the slots held, the limit last asked with, and how many wait, and how long the longest.',
    'The pattern is a glob over the keys, as of the Redis command KEYS: * ? [abc] [a-z] \\x. Quote it for your shell.',
    'It only reads; with very many keys it takes a while, in small steps.',
  ],
  examples: [
    ['concurrency-limit keys', 'all'],
    ["concurrency-limit keys 'render:*'", 'those that begin with render:'],
    ["concurrency-limit keys --json | jq -r '.[] | select(.waiting > 0) | .key'", 'where somebody waits'],
  ],
  exits: [],
  async run({ values, positionals, withLimiter, out }) {
    const [pattern] = expectPositionals(positionals, 0, 1, 'the pattern')
    const groups = await withLimiter(async (limiter) => readGroups(limiter, (await listKeys(limiter, pattern)).keys))
    if (values.json) out.json(groups.map(toJson).map(({ holders, waiters, ...figures }) => figures))
    else if (groups.length === 0) out.line('there are no such groups')
    else out.lines(groupTable(groups, out.look))
    return groups.some(({ error }) => error !== undefined) ? codes.protocol : codes.ok
  },
}
