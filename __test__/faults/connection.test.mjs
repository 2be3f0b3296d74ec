// Connections that are killed, cut, held up or half-closed under load: nobody hears of it who has the time to wait, and
// nothing is exceeded or left behind.
import { setTimeout as sleep } from 'node:timers/promises'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { redis, startRedis, until } from '../support/helpers.mjs'
import { judge, startCrowd } from '../support/load.mjs'
import { startProxy } from '../support/proxy.mjs'

const LIMIT = 5

let killed
let proxied
let witness
beforeAll(async () => {
  ;[killed, proxied] = await Promise.all([startRedis(), startRedis()])
  witness = { killed: new Limiter(killed.url), proxied: new Limiter(proxied.url) }
})
afterAll(() => killed?.stop())
afterAll(() => proxied?.stop())
afterAll(async () => {
  for (const limiter of Object.values(witness ?? {})) await limiter.close()
})

/** Four processes of ten tasks while `trouble` goes on, then the judgement. */
async function expectNothingHappens(key, port, limiter, trouble) {
  const options = { host: '127.0.0.1', port }
  const config = { key, limit: LIMIT, limitExpire: 5, limitTimeout: 20 }
  const crowd = startCrowd({ options, config, tasks: 10, work: [1, 20] })
  try {
    const processes = Array.from({ length: 4 }, () => crowd.join())
    await until(() => crowd.written() > 16_000, 'they are at work')
    await trouble()
    const results = await Promise.all(processes.map((process) => process.finish()))
    expect(judge(crowd.events(), LIMIT)).toEqual({ wrong: [], most: LIMIT, left: 0 })
    for (const { errors, full, lost, reconnects } of results) {
      expect({ errors, full, lost }).toEqual({ errors: [], full: 0, lost: [] })
      expect(reconnects).toBeGreaterThan(5)
    }
    expect(results.reduce((sum, { granted }) => sum + granted, 0)).toBeGreaterThan(500)
    await until(async () => {
      const { held, waiting } = await limiter.status(key)
      return held === 0 && waiting === 0
    }, 'nothing is held, nobody waits')
  } finally {
    crowd.end()
  }
}

test.concurrent('every connection is killed twice a second', () =>
  expectNothingHappens('killed', killed.port, witness.killed, async () => {
    for (let i = 0; i < 20; i++) {
      await sleep(500)
      await redis(killed.port, 'CLIENT', 'KILL', 'TYPE', i % 2 ? 'normal' : 'pubsub')
    }
  }))

test.concurrent('a network that cuts, holds up, half-closes, and loses answers of calls that were carried out', async () => {
  const proxy = await startProxy(proxied.port)
  try {
    await expectNothingHappens('proxied', proxy.port, witness.proxied, async () => {
      for (let i = 0; i < 5; i++) {
        for (const trouble of ['cut', 'stall', 'deafen', 'halfClose']) {
          proxy[trouble](150)
          await sleep(500)
        }
      }
    })
  } finally {
    await proxy.close()
  }
})
