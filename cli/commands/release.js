'use strict'

const { UsageError, expectPositionals } = require('../arguments.js')
const { codes } = require('../exits.js')
const { safe } = require('../text.js')

module.exports = {
  name: 'release',
  summary: 'takes a slot from somebody who holds it',
  usage: 'key --lease ID | --holder NAME',
  about: [
    'Gives back one lease, whoever has it, and lets the next in line in.',
    'Its holder is told "lost" at its next renewal, at most a third of its lease later. Until then, and for as long as its',
    'work ignores that, it runs beside the next holder: make sure first that it is gone or stuck.',
  ],
  options: {
    lease: { value: 'ID', option: 'leaseId', help: 'the lease, as `status` shows it' },
    holder: { value: 'NAME', option: 'holder', help: 'the name under which it was acquired (the option holder)' },
  },
  examples: [
    ['concurrency-limit status payments', 'shows the leases'],
    ['concurrency-limit release payments --lease 1f0c9a4be27d5c38-12', 'takes this one'],
  ],
  exits: ['found'],
  async run({ values, positionals, withLimiter, out }) {
    const [key] = expectPositionals(positionals, 1, 1, 'the key')
    const { lease: leaseId, holder } = values
    if ((leaseId === undefined) === (holder === undefined)) throw new UsageError('either --lease or --holder is needed')
    const released = await withLimiter((limiter) => limiter.release({ key, leaseId, holder }))
    if (values.json) out.json({ key, leaseId, holder, released })
    else if (released) out.line(`released ${safe(leaseId ?? holder)} of ${safe(key)}`)
    else out.warn(`nobody holds ${safe(leaseId ?? holder)} of ${safe(key)}`)
    return released ? codes.ok : codes.found
  },
}
