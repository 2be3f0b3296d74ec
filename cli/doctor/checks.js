'use strict'

// What a server's facts mean for limits: findings, each with what to change. Pure. The reasons are in
// `docs/operations.md`.

const { WAYS } = require('./rights.js')

const OLDEST = [6, 2]
const SLOW_MS = 50
const VERY_SLOW_MS = 500
const CLOCK_MS = 1000
const SHORT_IDLE_S = 60

const ok = (check, says) => ({ check, level: 'ok', says })
const note = (check, says, change) => ({ check, level: 'note', says, change })
const problem = (check, says, change) => ({ check, level: 'problem', says, change })

const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`

function versionOf(info) {
  if (info.valkey_version) return { name: 'Valkey', version: info.valkey_version, isOld: false }
  if (info.dragonfly_version) return { name: 'Dragonfly', version: info.dragonfly_version, isUnknown: true }
  const [major, minor] = (info.redis_version ?? '').split('.').map(Number)
  const isOld = major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])
  return { name: 'Redis', version: info.redis_version, isOld, isUnknown: Number.isNaN(major) }
}

const CHECKS = {
  server({ info }) {
    const { name, version, isOld, isUnknown } = versionOf(info)
    const said = `${name} ${version}, up for ${info.uptime_in_seconds} s, ${info.redis_mode ?? 'unknown mode'}`
    if (isOld) return problem('server', said, 'upgrade to Redis 6.2 or newer, or to Valkey')
    if (info.arch_bits === '32') return problem('server', said, 'use a build for 64 bits')
    if (isUnknown) return note('server', said, 'it is not tested with this server: try your own load on it first')
    return ok('server', said)
  },

  role({ info }) {
    if (info.role !== 'slave') return ok('role', 'a primary')
    const primary = `${info.master_host}:${info.master_port}`
    return problem('role', `a replica of ${primary}`, 'connect to the primary, or by redis+sentinel://')
  },

  kind({ info }, { kind }) {
    const isCluster = info.cluster_enabled === '1'
    if (isCluster && kind !== 'cluster') {
      return problem('cluster', 'a member of a cluster, reached as a single server', 'write redis+cluster://host:port')
    }
    if (isCluster && info.cluster_state === 'fail') return problem('cluster', 'the cluster is down', 'mend the cluster')
    return isCluster ? ok('cluster', 'a master of a cluster') : undefined
  },

  policy({ info }) {
    const policy = info.maxmemory_policy
    if (policy === undefined) return note('policy', 'INFO tells no maxmemory-policy', 'see that nothing is evicted')
    if (policy === 'noeviction') return ok('policy', 'maxmemory-policy is noeviction')
    const change = 'set maxmemory-policy to noeviction, or use a server of its own for limits'
    const says = `maxmemory-policy is ${policy}: a group may be evicted, and others get in beside those who hold`
    return info.maxmemory === '0'
      ? note('policy', `${says}; maxmemory is 0 now`, change)
      : problem('policy', says, change)
  },

  memory({ info }) {
    const [used, most] = [Number(info.used_memory), Number(info.maxmemory)]
    if (!(most > 0)) return ok('memory', `${info.used_memory_human} used, no bound`)
    const says = `${info.used_memory_human} of ${info.maxmemory_human} used`
    return used > 0.9 * most
      ? problem('memory', says, 'raise maxmemory: when it is full, nothing new is granted')
      : ok('memory', says)
  },

  clients({ info, settings }) {
    const [now, most] = [Number(info.connected_clients), Number(info.maxclients ?? settings.maxclients)]
    if (!(most > 0)) return undefined
    const says = `${now} of ${most} clients`
    return now > 0.9 * most
      ? problem('clients', says, 'raise maxclients: each process needs one connection')
      : ok('clients', says)
  },

  idle({ settings }) {
    const timeout = settings.timeout === null ? 0 : Number(settings.timeout)
    if (timeout === 0 || timeout > SHORT_IDLE_S) return undefined
    return note('timeout', `idle connections are closed after ${timeout} s`, 'set timeout to 0, or above a minute')
  },

  persistence({ info, settings }) {
    if (info.aof_enabled === '1' && info.aof_last_write_status === 'err') {
      return problem('persistence', 'the append-only file can not be written', 'see the disk and the log of the server')
    }
    if (info.rdb_last_bgsave_status === 'err') {
      return problem(
        'persistence',
        'the last snapshot failed: writes may be refused',
        'see the disk and the log of the server',
      )
    }
    if (info.aof_enabled === '1') {
      return ok('persistence', `append-only file${settings.appendfsync ? `, fsync ${settings.appendfsync}` : ''}`)
    }
    return note(
      'persistence',
      'no append-only file: after a crash it comes up empty or with an old snapshot',
      'appendonly yes with appendfsync everysec; without it, requests wait for `settle` while holders re-enter',
    )
  },

  replicas({ info, settings }) {
    const count = Number(info.connected_slaves ?? 0)
    if (count === 0)
      return note('replicas', 'no replica', 'add one and Sentinel, if limits must survive the loss of this server')
    if (settings['min-replicas-to-write'] === '0') {
      const change =
        'set min-replicas-to-write 1 and min-replicas-max-lag 10: a primary that was cut off stops granting'
      return note('replicas', `${count} connected, min-replicas-to-write is 0`, change)
    }
    return ok('replicas', `${count} connected`)
  },
}

/** The checks that need no INFO. */
const OF_CONNECTION = {
  latency({ latency: { medianMs, worstMs } }) {
    const says = `${ms(medianMs)} in the middle of 20 round trips, ${ms(worstMs)} at worst`
    if (medianMs >= VERY_SLOW_MS)
      return problem('latency', says, 'raise commandTimeout, limitExpire and settle well above it')
    return medianMs >= SLOW_MS
      ? note('latency', says, 'a server nearer by: each request takes a round trip')
      : ok('latency', says)
  },

  clock({ clockAheadMs }) {
    if (clockAheadMs === null) return undefined
    const says = `the server's clock is ${ms(Math.abs(clockAheadMs))} ${clockAheadMs < 0 ? 'behind' : 'ahead of'} ours`
    if (Math.abs(clockAheadMs) < CLOCK_MS) return ok('clock', says)
    return note('clock', says, "limits only use the server's, so nothing is wrong yet: have both set by NTP")
  },

  rights({ rights: { missing, ways } }) {
    const ofWays = ways.hasFunctions ? [...WAYS.functions, ...WAYS.scripts] : WAYS.scripts
    const lacking = ways.functions || ways.scripts ? missing : [...missing, ...ofWays]
    const plus = (names) => `ACL SETUSER … ${names.map((name) => `+${name}`).join(' ')}`
    if (lacking.length > 0) {
      const change = `${plus(lacking)}, for the keys and channels of the prefix`
      return problem('rights', `not permitted: ${lacking.join(', ')}`, change)
    }
    if (!ways.functions && ways.hasFunctions) {
      return note('rights', 'functions are not permitted: scripts do the same, at a higher cost', plus(WAYS.functions))
    }
    return ok('rights', 'all that a limiter needs is permitted')
  },

  push({ push }) {
    if (push.arrived) return ok('push', 'publications arrive')
    const why = push.why ? `: ${push.why}` : ''
    return problem(
      'push',
      `a publication did not arrive${why}`,
      'permit SUBSCRIBE, PUBLISH and the channels <prefix>:push:*',
    )
  },

  libraries({ libraries }) {
    if (libraries === null || libraries.length < 2) return undefined
    const change = 'FUNCTION DELETE those that no running release uses; one that is needed is loaded again by itself'
    return note('libraries', `${libraries.length} libraries of this package: ${libraries.join(', ')}`, change)
  },
}

/** The findings about one server; `kind` is what the URL says that it is. */
function examine(facts, place) {
  const without = note('info', 'INFO is not permitted: most could not be looked at', 'ACL SETUSER … +info')
  const about = facts.info === null ? [without] : Object.values(CHECKS).map((check) => check(facts, place))
  return [...about, ...Object.values(OF_CONNECTION).map((check) => check(facts))].filter(
    (finding) => finding !== undefined,
  )
}

module.exports = { examine }
