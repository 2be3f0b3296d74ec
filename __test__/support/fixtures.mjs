// What the tests of a file share, from their first to their last.
import { afterAll, beforeAll } from 'vitest'
import { startRedis } from './programs.mjs'

/** A redis-server, as `startRedis(options)` gives it once the first test begins. */
export function useRedis(options) {
  const server = {}
  beforeAll(async () => Object.assign(server, await startRedis(options)))
  afterAll(() => server.stop?.())
  return server
}
