// What the tests of a file share, from their first to their last.
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll } from 'vitest'
import { startRedis } from './programs.mjs'

/** A redis-server, as `startRedis(options)` gives it once the first test begins. */
export function useRedis(options) {
  const server = {}
  beforeAll(async () => Object.assign(server, await startRedis(options)))
  afterAll(() => server.stop?.())
  return server
}

/** A limiter on this server, or on `memory:`; it can be used once the first test begins. */
export function useLimiter(server) {
  let limiter
  beforeAll(() => {
    limiter = new Limiter(server === 'memory:' ? server : server.url)
  })
  afterAll(() => limiter?.close())
  return new Proxy(
    {},
    {
      get(_, name) {
        const value = limiter[name]
        return typeof value === 'function' ? value.bind(limiter) : value
      },
    },
  )
}

/** How many slots of a key are held, and how many requests wait: `counts(key)`. */
export function countsOf(limiter) {
  return async (key) => {
    const { held, waiting } = await limiter.status(key)
    return { held, waiting }
  }
}
