// The table of requests behaves as a Map does, whatever comes and goes.
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'

const { Table } = createRequire(import.meta.url)('../../lib/table.js')

/** Numbers from 0 to 1 that are the same in every run with the same seed. */
function* random(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state / 2 ** 32
  }
}

test.each([1, 2, 3])('it agrees with a Map over a long random history, seed %i', (seed) => {
  const numbers = random(seed)
  const next = (max) => Math.floor(numbers.next().value * max)
  const table = new Table()
  const map = new Map()
  for (let n = 1; n <= 100_000; n++) {
    table.set(n, `value ${n}`)
    map.set(n, `value ${n}`)
    // Mostly what came lately leaves, as requests do, and sometimes something old or unknown.
    const leaving = next(20) === 0 ? 1 + next(n + 10) : n - next(n % 20_000 < 10_000 ? 500 : 3000)
    const value = map.get(leaving)
    map.delete(leaving)
    if (table.delete(leaving) !== value) throw new Error(`deleting ${leaving} gave something else`)
    const asked = 1 + next(n)
    if (table.get(asked) !== map.get(asked) || table.size !== map.size) throw new Error(`they differ at ${asked}`)
  }
  expect(table.values().sort()).toEqual([...map.values()].sort())
  expect(map.size).toBeGreaterThan(1000)
})
