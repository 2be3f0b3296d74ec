'use strict'

// The commands that a limiter's user needs, each sent in a form that changes nothing: a server checks first whether a
// command is permitted.

const SHA = '0'.repeat(40)

/** Command lines by the names that ACL SETUSER knows; those of a group's keys on a group that nobody uses. */
function probesOf(prefix) {
  const key = `${prefix}:{concurrency-limit-doctor}`
  return {
    hello: ['HELLO', '2'],
    info: ['INFO', 'server'],
    'client|setname': ['CLIENT', 'SETNAME', 'concurrency-limit-doctor'],
    fcall: ['FCALL', 'concurrency_limit_doctor', '1', key], // no such function
    'function|load': ['FUNCTION', 'LOAD', 'this is no library'], // not taken, and so not kept
    evalsha: ['EVALSHA', SHA, '1', key],
    'script|load': ['SCRIPT', 'LOAD', 'this is not Lua ('], // the same
    scan: ['SCAN', '0', 'MATCH', `${prefix}:*`, 'COUNT', '1'],
    time: ['TIME'],
    type: ['TYPE', key],
    hmget: ['HMGET', key, 'f'],
    hset: ['HSET', key, 'f', 'v', 'g'], // a value is missing: refused
    hdel: ['HDEL', key, 'f'],
    zadd: ['ZADD', key, 'XX', '1', 'm'], // only if it is there
    zrem: ['ZREM', key, 'm'],
    zcard: ['ZCARD', key],
    zcount: ['ZCOUNT', key, '0', '1'],
    zrange: ['ZRANGE', key, '0', '0'],
    zrangebyscore: ['ZRANGEBYSCORE', key, '0', '1'],
    zrevrangebyscore: ['ZREVRANGEBYSCORE', key, '1', '0'],
    zremrangebyscore: ['ZREMRANGEBYSCORE', key, '1', '0'],
    pexpireat: ['PEXPIREAT', key, '1'],
    unlink: ['UNLINK', key],
    publish: ['PUBLISH', `${prefix}:push:concurrency-limit-doctor`, ''],
  }
}

// The rules are run as functions, or else as scripts: one of the two is enough.
const WAYS = { functions: ['fcall', 'function|load'], scripts: ['evalsha', 'script|load'] }

/** The names of commands that this connection's user may not use, and which of the two ways are open. */
async function rightsOf(connection, prefix) {
  const probes = Object.entries(probesOf(prefix))
  const answers = await Promise.allSettled(probes.map(([, line]) => connection.ask(...line)))
  const refused = (words) => probes.filter((_, i) => words.test(answers[i].reason?.message)).map(([name]) => name)
  const [denied, unknown] = [refused(/^NOPERM/), refused(/^ERR unknown (sub)?command/i)]
  const isOpen = (way) => WAYS[way].every((name) => !denied.includes(name) && !unknown.includes(name))
  const ways = { functions: isOpen('functions'), scripts: isOpen('scripts'), hasFunctions: !unknown.includes('fcall') }
  return { missing: denied.filter((name) => !Object.values(WAYS).flat().includes(name)), ways }
}

module.exports = { WAYS, probesOf, rightsOf }
