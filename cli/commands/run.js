'use strict'

const { basename } = require('node:path')
const { UsageError, expectPositionals } = require('../arguments.js')
const { Child, codeOfSignal, onSignals } = require('../child.js')
const { withLimiter } = require('../connection.js')
const { codes } = require('../exits.js')

const MOST_BYTES = 128 // of a label

/** The command's additional environment variables. */
const environmentOf = (lease) => ({
  CONCURRENCY_LIMIT_KEY: lease.key,
  CONCURRENCY_LIMIT_SLOT: String(lease.slot),
  CONCURRENCY_LIMIT_SLOTS: lease.slots.join(','),
  CONCURRENCY_LIMIT_TOKEN: String(lease.fencingToken),
  CONCURRENCY_LIMIT_LEASE: lease.leaseId,
})

/** The label that `status` shows, beside our host and process id. */
function labelOf(command) {
  let name = basename(command).toWellFormed()
  while (Buffer.byteLength(name) > MOST_BYTES) name = [...name].slice(0, -1).join('')
  return name
}

/** The request as the package takes it: options that weren't given have its defaults. */
function requestOf(values, command, signal) {
  const request = {
    label: labelOf(command),
    ...{ key: values.key, limit: values.limit },
    signal,
  }
  for (const [flag, { option }] of Object.entries(module.exports.options)) {
    if (option !== undefined && values[flag] !== undefined) request[option] = values[flag]
  }
  return request
}

/** Runs the command under the lease; resolves to the exit code. */
async function runUnder(lease, { after, values, graceMs, tell, signals }) {
  const hasTerminal = [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY)
  const child = new Child(after, { env: { ...process.env, ...environmentOf(lease) }, hasTerminal })
  signals.heard = (signal) => child.pass(signal)
  const stop = () => {
    tell({ event: 'lost', ...lease.signal.reason.toJSON() }, (pen) => {
      return `${pen.red('concurrency-limit:')} ${lease.signal.reason.message}; the command is ended`
    })
    child.end(graceMs)
  }
  if (lease.signal.aborted) stop()
  else lease.signal.addEventListener('abort', stop, { once: true })
  // Before the limiter is closed, which ends the lease, too.
  const code = await child.ended.finally(() => lease.signal.removeEventListener('abort', stop))
  const lost = lease.lost
  tell({ event: 'ended', key: values.key, code, lost })
  return code === codes.ok && lost ? codes.lost : code
}

module.exports = {
  name: 'run',
  summary: 'runs a command under a limit',
  usage: '--key K --limit N [options] -- command [argument…]',
  about: [
    'Waits for a slot, runs the command (no shell between), gives the slot back, and ends with its exit code.',
    'The lease is renewed while the command runs. If it is lost all the same, the command gets SIGTERM, and SIGKILL after',
    '--grace. Signals that this process gets are passed on. Standard input and output are those of the command.',
    'The command finds CONCURRENCY_LIMIT_KEY, _SLOT, _SLOTS, _TOKEN (the fencing token) and _LEASE in its environment.',
  ],
  options: {
    key: { value: 'K', option: 'key', help: 'the group: all that use this key share the limit' },
    limit: { value: 'N', number: true, option: 'limit', help: 'how many may run at once' },
    timeout: {
      ...{ value: 'S', number: true, option: 'limitTimeout' },
      help: 'seconds to wait for a slot at most, or infinity; 0 tries once; default: 10',
    },
    hold: {
      ...{ value: 'S', number: true, option: 'limitHold' },
      help: 'seconds that the command may take: then its slot is lost and it is ended; default: infinity',
    },
    expire: {
      ...{ value: 'S', number: true, option: 'limitExpire' },
      help: 'seconds that the slot stays taken if this machine vanishes; default: 60',
    },
    grace: { value: 'S', number: true, help: 'seconds between SIGTERM and SIGKILL, 0 to 86400; default: 10' },
    label: { value: 'TEXT', option: 'label', help: 'shown by `status`; default: the command' },
    holder: {
      value: 'NAME',
      option: 'holder',
      help: 'a name of its own: who takes it over is let in, the former loses',
    },
    weight: { value: 'N', number: true, option: 'weight', help: 'how many slots to take; default: 1' },
    priority: { value: 'N', number: true, option: 'priority', help: '-10 to 10, higher goes first (--priority=-1)' },
    'max-waiting': {
      value: 'N',
      number: true,
      option: 'maxWaiting',
      help: 'give up at once when so many wait already',
    },
  },
  examples: [
    ['concurrency-limit run --key backup --limit 1 --timeout 0 -- ./backup.sh', 'once at a time, or not at all (cron)'],
    ['concurrency-limit run --key deploy --limit 1 --timeout 600 -- make deploy', 'one after the other, in order'],
    [
      `concurrency-limit run --key gpu --limit 4 -- sh -c 'CUDA_VISIBLE_DEVICES=$((CONCURRENCY_LIMIT_SLOT - 1)) ./train'`,
      'four at once, each on a device of its own',
    ],
  ],
  takesCommand: true,
  others: [['0-255', "the command's own; 128 + N when signal N ended it"]],
  exits: ['lost', 'limited', 'notExecutable', 'notFound'],
  async run({ values, positionals, after, connection, out, seconds }) {
    if (after.length === 0) throw new UsageError('the command is missing: put it behind --')
    expectPositionals(positionals, 0, 0)
    for (const flag of ['key', 'limit']) if (values[flag] === undefined) throw new UsageError(`--${flag} is missing`)
    const graceMs = seconds('grace', values.grace ?? 10, 0, 86_400) * 1000
    const tell = (fact, text) => {
      if (values.json) out.warn(JSON.stringify(fact))
      else if (text !== undefined) out.warn(text(out.errorPen))
    }
    const waiting = new AbortController()
    const signals = { heard: (signal) => waiting.abort(signal) }
    const leave = onSignals((signal) => signals.heard(signal))
    try {
      return await withLimiter({ ...connection(), clientName: 'concurrency-limit-run' }, async (limiter) => {
        const lease = await limiter.acquire(requestOf(values, after[0], waiting.signal))
        const { slot, slots, fencingToken, leaseId, waited } = lease
        tell({ event: 'granted', key: values.key, slot, slots, fencingToken, leaseId, waited })
        return runUnder(lease, { after, values, graceMs, tell, signals })
      })
    } catch (error) {
      if (waiting.signal.aborted && error === waiting.signal.reason) return codeOfSignal(error)
      throw error
    } finally {
      leave()
    }
  },
}
