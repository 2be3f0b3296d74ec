// The numbers of the bridge are the binary's, JavaScript has their names, and each failure is an error of its own.
import { ConcurrencyLimitError } from 'concurrency-limit'
import { expect, test } from 'vitest'
import { loadCodes } from '../../lib/codes.js'
import { failure } from '../../lib/errors.js'

const { failure: failures, ...rest } = loadCodes()

test('each number has one name, and can be changed by nobody', () => {
  for (const numbers of [failures, ...Object.values(rest)]) {
    const { names, ...byName } = numbers
    expect(new Set(Object.values(byName)).size).toBe(Object.keys(byName).length)
    for (const [name, number] of Object.entries(byName)) expect(names[number]).toBe(name)
    expect([numbers, names].every(Object.isFrozen)).toBe(true)
  }
  expect(loadCodes()).toBe(loadCodes())
})

test('each failure is an error of its own, but for a cancelled request, whose reason is the caller’s', () => {
  const terms = { key: 'k', limit: 1, limitTimeout: 1, maxWaiting: 1 }
  const codes = failures.names
    .filter((name) => name !== 'Cancelled')
    .map((name) => {
      const error = failure({ name, numbers: [1, 1, 1, 1], text: 'option\n"given"\nexpected' }, terms)
      expect(error).toBeInstanceOf(ConcurrencyLimitError)
      expect(error.message).not.toContain('unknown refusal')
      return error.code
    })
  expect(new Set(codes).size).toBe(6)
})
