// The limiters that are compared, each behind the same few calls: `take(key, limit)` resolves to a function that gives
// the slot back, `calls()` says how many commands were sent to Redis, `close()` ends.
//
// A peer is set up as its own documentation advises for this use. What it can't do (waiting, limits above 1) it isn't
// asked for: see `can`.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const LEASE_S = 30
const PATIENCE_S = 60

function countCalls(redis) {
  let calls = 0
  const send = redis.sendCommand
  redis.sendCommand = function (...args) {
    calls++
    return send.apply(this, args)
  }
  return () => calls
}

function ioredis(url, options = {}) {
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

const SYSTEMS = {
  ours: {
    async open(url) {
      const { Limiter } = require('../index.js')
      const limiter = new Limiter(url, url === 'memory:' ? {} : { settle: 0 })
      return {
        async take(key, limit) {
          const lease = await limiter.acquire({ key, limit, limitTimeout: PATIENCE_S, limitExpire: LEASE_S })
          return () => lease.release()
        },
        calls: async () => (await limiter.stats()).calls,
        close: () => limiter.close(),
      }
    },
  },
  'redis-semaphore': {
    async open(url) {
      const { Semaphore } = require('redis-semaphore')
      const redis = ioredis(url)
      const calls = countCalls(redis)
      const options = { lockTimeout: LEASE_S * 1000, acquireTimeout: PATIENCE_S * 1000 }
      return {
        async take(key, limit) {
          const semaphore = new Semaphore(redis, key, limit, options)
          await semaphore.acquire()
          return () => semaphore.release()
        },
        calls: async () => calls(),
        close: () => redis.quit(),
      }
    },
  },
  redlock: {
    can: (limit) => limit === 1,
    async open(url) {
      const { default: Redlock } = await import('redlock')
      const redis = ioredis(url)
      const calls = countCalls(redis)
      const redlock = new Redlock([redis], { retryCount: -1 })
      return {
        async take(key) {
          const lock = await redlock.acquire([key], LEASE_S * 1000)
          return () => lock.release()
        },
        calls: async () => calls(),
        close: () => redis.quit(),
      }
    },
  },
  bottleneck: {
    async open(url) {
      const Bottleneck = require('bottleneck')
      const redis = ioredis(url)
      const calls = countCalls(redis)
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
        calls: async () => calls(),
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
      const calls = countCalls(redis)
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
        calls: async () => calls(),
        close: () => redis.quit(),
      }
    },
  },
  // Not a limiter: the least that two scripts over ioredis can cost.
  'bare EVALSHA': {
    can: (limit) => limit > 100_000,
    async open(url) {
      const redis = ioredis(url)
      const calls = countCalls(redis)
      redis.defineCommand('bareTake', { numberOfKeys: 1, lua: `return redis.call('INCR', KEYS[1])` })
      redis.defineCommand('bareGive', { numberOfKeys: 1, lua: `return redis.call('DECR', KEYS[1])` })
      return {
        async take(key) {
          await redis.bareTake(key)
          return () => redis.bareGive(key)
        },
        calls: async () => calls(),
        close: () => redis.quit(),
      }
    },
  },
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
        calls: async () => 0,
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
        calls: async () => 0,
        close: async () => {},
      }
    },
  },
}

export const NAMES = Object.keys(SYSTEMS)

export const isLocal = (name) => SYSTEMS[name].local === true

/** Whether the system is one for this limit. */
export const can = (name, limit) => SYSTEMS[name].can?.(limit) ?? true

export const open = (name, url) => SYSTEMS[name].open(url)
