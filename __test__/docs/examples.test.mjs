// The examples and the demo run as they are, on the embedded store and on Redis, and end by themselves.
import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Observer } from '../../demo/observer.mjs'
import { runNode, startRedis } from '../support/programs.mjs'

const examples = readdirSync(new URL('../../examples', import.meta.url)).filter((name) => name.endsWith('.mjs'))
examples.push('lambda/invoke.mjs')

let redis
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis?.stop())

test.each(examples)('%s runs', async (name) => {
  const { code, output } = await runNode([`examples/${name}`], { env: { REDIS_URL: redis.url } })
  expect(output).not.toMatch(/warning|error:/i)
  expect(code).toBe(0)
})

describe.concurrent('the demo shows that the limits hold', () => {
  for (const place of ['the embedded store', 'Redis']) {
    test(`on ${place}`, async ({ expect }) => {
      const env = { REDIS_URL: place === 'Redis' ? redis.url : '' }
      const { code, output } = await runNode(['demo/main.mjs'], { env, bound: 25_000 })
      expect(output).toContain('The limits held')
      expect(code).toBe(0)
    })
  }
})

describe('the observer of the demo', () => {
  const group = { name: 'g', limit: 1 }
  const watch = (...events) => {
    const observer = new Observer([group])
    for (const [what, worker, at] of events) observer.see({ what, group: 'g', worker, number: 0, slot: 1, at })
    return observer.verdict(group)
  }

  test('sees two inside at once, however the events arrive', () => {
    const verdict = watch(
      ['asks', 1, 0],
      ['enters', 1, 1],
      ['leaves', 1, 5],
      ['asks', 2, 0],
      ['enters', 2, 4],
      ['leaves', 2, 6],
    )
    expect(verdict).toMatchObject({ most: 2, held: false, served: 2 })
  })

  test('is content when one goes in after the other', () => {
    const verdict = watch(
      ['asks', 1, 0],
      ['asks', 2, 0],
      ['enters', 1, 1],
      ['enters', 2, 6],
      ['leaves', 1, 5],
      ['leaves', 2, 7],
    )
    expect(verdict).toMatchObject({ most: 1, held: true, served: 2, p50: 6 })
  })
})
