// The limiters that are compared, each behind the same few calls: `take(key, limit)` resolves to a function that gives
// the slot back, `calls()` says how many commands were sent to Redis, `sent()` how many of each name (of ours all are
// scripts), `close()` ends.
//
// A peer is set up as its own documentation advises for this use. What it can't do (waiting, limits above 1) it isn't
// asked for: see `can`.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const LEASE_S = 30
const PATIENCE_S = 60

/** A limit that no workload reaches. */
export const NEVER_FULL = 1_000_000

/** Counts the commands of an ioredis client: its `calls` and `sent`. */
function counted(redis) {
  const names = new Map()
  const send = redis.sendCommand
  redis.sendCommand = function (command, ...rest) {
    names.set(command.name, (names.get(command.name) ?? 0) + 1)
    return send.call(this, command, ...rest)
  }
  const sent = () => Object.fromEntries(names)
  return { sent, calls: async () => [...names.values()].reduce((all, many) => all + many, 0) }
}

const UNCOUNTED = { sent: () => ({}), calls: async () => 0 }

export function ioredis(url, options = {}) {
  const Redis = require('ioredis').default ?? require('ioredis')
  return new Redis(url, { maxRetriesPerRequest: null, ...options })
}

/** 30 lines anybody would write first: a sorted set, one script, and trying again every 10 ms. */
const NAIVE = {
  take: `local now = redis.call('TIME')
    local ms = now[1] * 1000 + math.floor(now[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
    if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
    redis.call('ZADD', KEYS[1], ms + ARGV[2], ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return 1`,
  give: `return redis.call('ZREM', KEYS[1], ARGV[1])`,
}

/** Ours, giving back by `give`; slots are kept for `limitKeep` seconds. Each kind has a session of its own. */
async function openOurs(url, give = (lease) => lease.release(), limitKeep = 0) {
  const { Limiter } = require('../index.js')
  const clientName = `keeps-${limitKeep}`
  const limiter = new Limiter(url, url === 'memory:' ? { clientName } : { clientName, settle: 0 })
  return {
    async take(key, limit) {
      const lease = await limiter.acquire({ key, limit, limitTimeout: PATIENCE_S, limitExpire: LEASE_S, limitKeep })
      return () => give(lease)
    },
    sent: () => ({}),
    calls: async () => (await limiter.stats()).calls,
    close: () => limiter.close(),
  }
}

const SYSTEMS = {
  ours: { open: (url) => openOurs(url) },
  // As `withLimit` does: nobody waits for the answer to the release.
  'ours scoped': { only: 'scoped', open: (url) => openOurs(url, (lease) => lease[Symbol.asyncDispose]()) },
  'ours kept': { only: 'kept', open: (url) => openOurs(url, undefined, 0.1) },
  'redis-semaphore': {
    async open(url) {
      const { Semaphore } = require('redis-semaphore')
      const redis = ioredis(url)
      const counts = counted(redis)
      const options = { lockTimeout: LEASE_S * 1000, acquireTimeout: PATIENCE_S * 1000 }
      return {
        async take(key, limit) {
          const semaphore = new Semaphore(redis, key, limit, options)
          await semaphore.acquire()
          return () => semaphore.release()
        },
        ...counts,
        close: () => redis.quit(),
      }
    },
  },
  redlock: {
    can: (limit) => limit === 1,
    async open(url) {
      const { default: Redlock } = await import('redlock')
      const redis = ioredis(url)
      const counts = counted(redis)
      const redlock = new Redlock([redis], { retryCount: -1 })
      return {
        async take(key) {
          const lock = await redlock.acquire([key], LEASE_S * 1000)
          return () => lock.release()
        },
        ...counts,
        close: () => redis.quit(),
      }
    },
  },
  bottleneck: {
    async open(url) {
      const Bottleneck = require('bottleneck')
      const redis = ioredis(url)
      const counts = counted(redis)
      const connection = new Bottleneck.IORedisConnection({ client: redis })
      const limiters = new Map()
      const limiterOf = (id, maxConcurrent) => {
        if (!limiters.has(id)) limiters.set(id, new Bottleneck({ id, maxConcurrent, connection }))
        return limiters.get(id)
      }
      return {
        take: (key, limit) =>
          new Promise((granted, failed) => {
            const job = () => new Promise((give) => granted(async () => give()))
            limiterOf(key, limit)
              .schedule({ expiration: LEASE_S * 1000 }, job)
              .catch(failed)
          }),
        ...counts,
        close: async () => {
          await Promise.all([...limiters.values()].map((limiter) => limiter.disconnect(false)))
          await connection.disconnect(false)
          redis.disconnect()
        },
      }
    },
  },
  naive: {
    async open(url) {
      const redis = ioredis(url)
      const counts = counted(redis)
      redis.defineCommand('naiveTake', { numberOfKeys: 1, lua: NAIVE.take })
      redis.defineCommand('naiveGive', { numberOfKeys: 1, lua: NAIVE.give })
      let last = 0
      return {
        async take(key, limit) {
          const id = `${process.pid}-${++last}`
          while ((await redis.naiveTake(key, limit, LEASE_S * 1000, id)) === 0)
            await new Promise((r) => setTimeout(r, 10))
          return () => redis.naiveGive(key, id)
        },
        ...counts,
        close: () => redis.quit(),
      }
    },
  },
  // Not a limiter: the least that two scripts over ioredis can cost.
  'bare EVALSHA': {
    can: (limit) => limit === NEVER_FULL,
    async open(url) {
      const redis = ioredis(url)
      const counts = counted(redis)
      redis.defineCommand('bareTake', { numberOfKeys: 1, lua: `return redis.call('INCR', KEYS[1])` })
      redis.defineCommand('bareGive', { numberOfKeys: 1, lua: `return redis.call('DECR', KEYS[1])` })
      return {
        async take(key) {
          await redis.bareTake(key)
          return () => redis.bareGive(key)
        },
        ...counts,
        close: () => redis.quit(),
      }
    },
  },
  // Not even a client of JavaScript: what Redis can do at most, one bare script for each half of a pair.
  'redis-benchmark': { tool: true },
  'p-limit': {
    local: true,
    async open() {
      const { default: pLimit } = await import('p-limit')
      const limits = new Map()
      return {
        take(key, limit) {
          if (!limits.has(key)) limits.set(key, pLimit(limit))
          return new Promise((granted) => limits.get(key)(() => new Promise((give) => granted(async () => give()))))
        },
        ...UNCOUNTED,
        close: async () => {},
      }
    },
  },
  'async-sema': {
    local: true,
    async open() {
      const { Sema } = require('async-sema')
      const semas = new Map()
      return {
        async take(key, limit) {
          if (!semas.has(key)) semas.set(key, new Sema(limit))
          const sema = semas.get(key)
          await sema.acquire()
          return async () => sema.release()
        },
        ...UNCOUNTED,
        close: async () => {},
      }
    },
  },
}

const NAMES = Object.keys(SYSTEMS)

const plain = (name) =>
  name
    .trim()
    .toLowerCase()
    .replaceAll(/[\s_]+/g, '-')

/** The systems of a list as a user writes it, ours always among them; all without a list. */
export function chosen(list) {
  const wanted = (list?.split(',') ?? NAMES).map((name) => {
    const found = NAMES.find((known) => plain(known) === plain(name))
    if (!found) throw new Error(`--peers: no system is called "${name.trim()}"; known are ${NAMES.join(', ')}`)
    return found
  })
  return [...new Set(['ours', ...wanted])]
}

/** Whether the system is one for this workload. */
export function can(name, workload) {
  const system = SYSTEMS[name]
  if (name === 'ours') return true
  if (system.only) return workload[system.only] === true
  if (workload.alone || workload.not?.includes(name) || (system.local === true) !== (workload.local === true))
    return false
  return system.tool ? workload.tools?.includes(name) === true : (system.can?.(workload.limit) ?? true)
}

export const open = (name, url) => SYSTEMS[name].open(url)
