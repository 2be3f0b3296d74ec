// The mutations that `npm run test:mutations` makes are of the source as it is now.
import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { MUTATIONS, mutated } from '../../scripts/mutations/list.mjs'

const read = (file) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')

test.each(MUTATIONS)('$name: its text is in the source, once', (mutation) => {
  const source = read(mutation.file)
  expect(mutated(source, mutation)).not.toBe(source)
  for (const target of mutation.tests.map((tests) => tests.split(': ')[0])) {
    const files = [`${target}.rs`, `${target}/main.rs`].map((file) => `../../crates/core/tests/${file}`)
    const found = target === 'lib' || files.some((file) => existsSync(new URL(file, import.meta.url)))
    expect(found, `${target} is no target`).toBe(true)
  }
})

test('each has a name of its own and a test that must notice', () => {
  expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length)
  for (const { tests } of MUTATIONS) expect(tests.length).toBeGreaterThan(0)
})
