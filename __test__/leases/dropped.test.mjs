// Limiters that are made for one use and dropped, never closed: they end by themselves once they are collected, a
// warning names the habit, and whatever still holds, waits or was asked goes on.
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, runNode, until } from '../support/helpers.mjs'

const server = useRedis()
const witness = useLimiter(server)

/** A program of its own that collects garbage when it says `within` or `megabytes`. */
function run(body) {
  const source = `
    import { readFileSync } from 'node:fs'
    import { Limiter } from 'concurrency-limit'
    const url = process.env.SERVER
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
    const within = async (look) => {
      for (let i = 0; !(await look()); i++) {
        if (i === 200) throw new Error('not within 10 s: ' + look)
        await pause(50)
        gc()
      }
    }
    const megabytes = async () => {
      for (let i = 0; i < 5; i++) {
        await pause(10)
        gc()
      }
      const [, pages] = readFileSync('/proc/self/statm', 'utf8').split(' ')
      return { heap: process.memoryUsage().heapUsed / 2 ** 20, all: (pages * 4096) / 2 ** 20 }
    }
    ${body}`
  return runNode(['--expose-gc', '--input-type=module', '-'], { source, env: { SERVER: server.url }, bound: 60_000 })
}

/** What the program itself printed. */
const said = (output) => output.split('\n').filter((line) => line !== '' && !line.startsWith('('))
const warnings = (output) => output.match(/CONCURRENCY_LIMIT_MANY_LIMITERS/g)?.length ?? 0
const connections = async (name) => (await redis(server.port, 'CLIENT', 'LIST')).split(` name=${name}`).length - 1

describe.concurrent('limiters that are dropped', () => {
  test('by the thousand, with the same options, leave no memory behind, and one warning says what to do', async () => {
    const body = `
      const use = async () => {
        await Promise.all(Array.from({ length: 1000 }, () =>
          new Limiter(url).withLimit({ key: 'used once', limit: 1000 }, () => {})))
        return megabytes()
      }
      for (let i = 0; i < 4; i++) await use()
      const before = await megabytes()
      for (let i = 0; i < 16; i++) await use()
      const after = await megabytes()
      console.log(JSON.stringify({ heap: after.heap - before.heap, all: after.all - before.all }))`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    // 16,000 that stayed are 12 MB of JavaScript's heap and more than 20 MB in all.
    const grown = JSON.parse(/^{.*}$/m.exec(output)[0])
    expect(grown.heap).toBeLessThan(3)
    expect(grown.all).toBeLessThan(12)
    expect(warnings(output)).toBe(1)
    expect(output).toMatch(/101 limiters with the same options .*one Limiter per process.*close\(\)/)
  })

  test('end their connections, with or without stallTimeout', async () => {
    const body = `
      await Promise.all(Array.from({ length: 60 }, (_, i) =>
        new Limiter(url, { clientName: 'dropped-' + i, stallTimeout: i % 2 ? 60 : undefined })
          .withLimit({ key: 'own connection', limit: 1000 }, () => {})))
      console.log('used')
      const kept = new Limiter(url, { clientName: 'kept' })
      await within(async () => {
        const { holders } = await kept.status('is dropped')
        return holders.length > 0
      })
      console.log((await kept.stats()).held)`
    const ended = run(body)
    await until(async () => (await connections('dropped-')) > 30, 'they are connected')
    await until(async () => (await connections('dropped-')) === 0, 'they are gone')
    expect(await connections('kept')).toBeGreaterThan(0)
    // The program ends when it's told by this.
    const lease = await witness.acquire({ key: 'is dropped', limit: 1 })
    const { code, output } = await ended
    await lease.release()
    expect({ code, output }).toEqual({ code: 0, output: 'used\n0\n' })
  })

  test('go on holding what they hold, waiting for what they wait for, and answering what they were asked', async () => {
    const body = `
      const config = { key: 'goes on', limit: 2, limitExpire: 0.6 }
      const named = (clientName) => new Limiter(url, { clientName, stallTimeout: 60 })
      const looker = named('looker')
      const kept = await named('holds').acquire(config)
      await named('forgets').acquire(config)
      const waits = named('waits').acquire(config)
      const pages = named('asks').keys()
      const first = pages.next()
      const wrapped = named('wraps').wrap({ key: 'wrapped', limit: 1 }, () => 'wrapped')
      for (let i = 0; i < 40; i++) {
        await pause(50)
        gc()
      }
      console.log((await looker.status('goes on')).held, kept.lost, (await first).done, await wrapped())
      console.log(await kept.release())
      const next = await waits
      console.log(next.slot === kept.slot, await next.release(), (await looker.status('goes on')).held)
      process.exit(0)`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['2 false false wrapped', 'true', 'true true 1'])
    await until(async () => (await witness.status('goes on')).held === 0, 'all is given back')
  })
})

test('many limiters with different options, or closed after use, are no habit to warn of', async () => {
  const body = `
    const limiters = Array.from({ length: 150 }, (_, i) => new Limiter('memory:', { keyPrefix: 'p' + i }))
    for (let i = 0; i < 150; i++) await new Limiter(url).close()
    for (let i = 0; i < 100; i++) limiters.push(new Limiter(url))
    await Promise.all(limiters.map((limiter) => limiter.close()))
    console.log(limiters.length)`
  expect(await run(body)).toEqual({ code: 0, output: '250\n' })
})
