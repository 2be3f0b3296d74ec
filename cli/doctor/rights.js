'use strict'

// Which commands a limiter's user needs, each asked in a form that changes nothing: a server looks whether a command is
// permitted before it looks at anything else of it.

const SHA = '0'.repeat(40)

/** Command lines by the names that ACL SETUSER knows; those of a group's keys on a group that nobody uses. */
function probesOf(prefix) {
  const key = `${prefix}:{concurrency-limit-doctor}`
  return {
    hello: ['HELLO', '2'],
    info: ['INFO', 'server'],
    'client|setname': ['CLIENT', 'SETNAME', 'concurrency-limit-doctor'],
    evalsha: ['EVALSHA', SHA, '1', key],
    'script|load': ['SCRIPT', 'LOAD', 'this is not Lua ('], // not taken, and so not kept
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

/** The names of those that this connection's user may not use. */
async function missingRights(connection, prefix) {
  const probes = Object.entries(probesOf(prefix))
  const answers = await Promise.allSettled(probes.map(([, line]) => connection.ask(...line)))
  return probes.filter((_, i) => /^NOPERM/.test(answers[i].reason?.message)).map(([name]) => name)
}

module.exports = { missingRights, probesOf }
