// bench: bounded, tells figures of all its loads, and leaves nothing behind however it ends.
import { expect, test } from 'vitest'
import { cli, cliJson, startCli } from '../support/cli.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { redis, until } from '../support/helpers.mjs'

const server = useRedis()
const keys = () => redis(server.port, 'DBSIZE')

test('it measures four loads and removes its keys', async () => {
  const env = { REDIS_URL: server.url }
  const { parts, tasks } = await cliJson(['bench', '--seconds', '0.2', '--tasks', '20'], { env })
  expect(tasks).toBe(20)
  expect(parts).toHaveLength(4)
  for (const { pairs, pairsPerSecond, p50Ms, p99Ms } of parts) {
    expect(pairs).toBeGreaterThan(0)
    expect(pairsPerSecond).toBeGreaterThan(0)
    expect(p50Ms).toBeGreaterThan(0)
    expect(p99Ms).toBeGreaterThanOrEqual(p50Ms)
  }
  expect(parts[0].redisUsPerPair).toBeGreaterThan(0)
  expect(await keys()).toBe(0)
})

test('Ctrl-C ends it early, and removes its keys', async () => {
  const { child, ended } = startCli(['bench', '--seconds', '30', '--tasks', '5'], { env: { REDIS_URL: server.url } })
  await until(async () => (await keys()) > 0, 'it has begun')
  child.kill('SIGINT')
  expect(await ended).toMatchObject({ code: 130, stderr: '' })
  expect(await keys()).toBe(0)
})

test('a table for people, and errors as of all commands', async () => {
  const env = { REDIS_URL: server.url }
  const { stdout } = await cli(['bench', '--seconds', '0.1'], { env })
  expect(stdout).toMatch(/^LOAD +PAIRS\/S +P50 +P99 +REDIS\none at a time +\d+ +[\d.]+ ms +[\d.]+ ms +\d+ µs\n/)
  expect(await cli(['bench'], { env: { REDIS_URL: 'redis://127.0.0.1:1' } })).toMatchObject({ code: 69, stdout: '' })
  expect(await cli(['bench', '--seconds', '61'], { env })).toMatchObject({ code: 64, stdout: '' })
})
