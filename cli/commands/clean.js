'use strict'

const { UsageError } = require('../arguments.js')
const { codes } = require('../exits.js')
const { listKeys } = require('../groups.js')
const { safe, table } = require('../text.js')

module.exports = {
  name: 'clean',
  summary: 'removes leases whose end has passed',
  usage: 'key… | --all',
  about: [
    'Removes the leases of vanished holders whose end has passed, and lets those in line in.',
    'Nobody needs it for correctness: whoever next needs the room does the same. It takes nothing from anybody.',
  ],
  options: { all: { help: 'all groups that exist' } },
  examples: [
    ['concurrency-limit clean payments', 'one group'],
    ['concurrency-limit clean --all', 'every group'],
  ],
  exits: [],
  async run({ values, positionals, withLimiter, out }) {
    if (positionals.length > 0 === Boolean(values.all)) throw new UsageError('either keys or --all is needed')
    const cleaned = await withLimiter(async (limiter) => {
      const keys = values.all ? (await listKeys(limiter)).keys : positionals
      const removed = []
      for (const key of keys) removed.push({ key, removed: await limiter.clean(key) })
      return removed
    })
    if (values.json) out.json(cleaned)
    else out.lines(table(cleaned.map(({ key, removed }) => [safe(key), `${removed} removed`])))
    return codes.ok
  },
}
