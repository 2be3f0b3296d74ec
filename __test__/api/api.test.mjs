// What users build on changes only on purpose: the types of the package and the public items of the crate are those of
// two committed files. After a change that is meant: npx vitest run __test__/api -u, and a line in CHANGELOG.md.
import { readFileSync } from 'node:fs'
import * as api from 'concurrency-limit'
import { expect, test } from 'vitest'

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const tidy = (text) =>
  `${text
    .replace(/[ \t]+$/gm, '')
    .replace(/\n{2,}/g, '\n')
    .trim()}\n`

const typesOf = (path) => tidy(read(path).replace(/\/\*\*.*?\*\//gs, ''))
const types = typesOf('index.d.ts')

test('the types of the package are those of package.txt and otel.txt', async () => {
  await expect(types).toMatchFileSnapshot('package.txt')
  await expect(typesOf('otel.d.ts')).toMatchFileSnapshot('otel.txt')
})

test('the package exports what its types say, no more and no less', () => {
  const declared = [...types.matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, name]) => name)
  expect(declared.sort()).toEqual(
    Object.keys(api)
      .filter((name) => name !== 'default' && name !== 'module.exports')
      .sort(),
  )
})

test.each(['Limiter', 'Lease'])('a %s has the members that its types say', async (name) => {
  const limiter = new api.Limiter('memory:')
  const members = { Limiter: limiter, Lease: await limiter.acquire({ key: 'k', limit: 1 }) }
  const member = members[name]
  const body = new RegExp(`^export (?:class|interface) ${name}\\b.*?\\n}`, 'ms').exec(types)[0]
  const declared = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[<(:]/gm)].map(([, member]) => member)
  const names = [member, Object.getPrototypeOf(member)].flatMap((one) => Object.getOwnPropertyNames(one))
  const there = names.filter((one) => !one.startsWith('_') && one !== 'constructor')
  expect([...new Set(declared)].filter((one) => one !== 'constructor').sort()).toEqual(there.sort())
  await limiter.close()
})

const ITEMS = [
  /^(?:#\[derive[^\n]*\n|#\[non_exhaustive\]\n)*pub enum .*?^}/,
  /^(?:#\[derive[^\n]*\n|#\[non_exhaustive\]\n)*pub (?:struct|trait) [^{;]*/,
  /^pub (?:type|const|static|mod|use) [^;]*/,
  /^impl\b[^{]*/,
  /^ {4}pub (?:async |const )*fn [^{;]*/,
  /^ {4}pub \w+: [^\n]*,$/,
]

/** The public items of a Rust source, without bodies, private fields, implementations on private types, and tests. */
function publicItems(source) {
  const [code] = source.replace(/^\s*(\/\/|#\[error).*\n/gm, '').split('#[cfg(test)]')
  const all = new RegExp(ITEMS.map(({ source }) => source).join('|'), 'gms')
  const isPublic = (item) => {
    const type = /^impl\b.*?(\w+)(?:<'_>)?$/s.exec(item)?.[1]
    return type === undefined || new RegExp(`^pub (?:struct|enum) ${type}\\b`, 'm').test(code)
  }
  const items = [...code.matchAll(all)].map(([item]) => item.trim())
  return items.filter(isPublic).join('\n')
}

test('the public items of the crate are those of crate.txt', async () => {
  const parts = ['limit', 'place', 'parts', 'node', 'tls', 'secret', 'asked'].map((name) => `config/${name}`)
  const modules = ['lib', 'limiter', 'config', ...parts, 'error', 'lease']
  const items = modules.map((name) => `// ${name}\n${publicItems(read(`crates/core/src/${name}.rs`))}\n`)
  await expect(tidy(items.join('\n'))).toMatchFileSnapshot('crate.txt')
})
