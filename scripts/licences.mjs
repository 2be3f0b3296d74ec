// Writes THIRD_PARTY_LICENSES.txt: the licences of all crates whose code is in a binary, of all platforms together.
// `npm run licences` writes it, `node scripts/licences.mjs --check` says whether it is current.
//
// Of a crate with a choice that has MIT in it, MIT is taken. Crates that only build (macros, build scripts) and those
// of the tests aren't in a binary. A crate without a licence text of its own ends this with an error, unless it is MIT.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const FILE = join(root, 'THIRD_PARTY_LICENSES.txt')
const BINDING = 'concurrency-limit-node'
const LICENCE_FILE = /^(licen[cs]e|copying|notice|copyright|unlicense)/i
const HEAD = `Third-party code in the binaries of concurrency-limit, and its licences.
Written by \`npm run licences\` from Cargo.lock; the crates of all platforms together.
`
const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`

/** The packages whose code is linked into the binding, by name and version. */
function linked() {
  const { targets } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).napi
  const platforms = targets.flatMap((target) => ['--filter-platform', target])
  const args = ['metadata', '--format-version', '1', '--locked', ...platforms]
  const { packages, resolve } = JSON.parse(
    execFileSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 1e9, stdio: ['ignore', 'pipe', 'inherit'] }),
  )
  const byId = new Map(packages.map((one) => [one.id, one]))
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]))
  const found = new Set()
  const visit = (id) => {
    const isMacro = byId.get(id).targets.some(({ kind }) => kind.includes('proc-macro'))
    if (found.has(id) || isMacro) return
    found.add(id)
    for (const { pkg, dep_kinds } of nodes.get(id).deps) if (dep_kinds.some(({ kind }) => kind === null)) visit(pkg)
  }
  visit(packages.find(({ name }) => name === BINDING).id)
  const isOurs = ({ source }) => source === null
  return [...found]
    .map((id) => byId.get(id))
    .filter((one) => !isOurs(one))
    .sort((a, b) => (a.name < b.name || (a.name === b.name && a.version < b.version) ? -1 : 1))
}

/** The licence texts that a crate carries: those of the one that was chosen. */
function textsOf({ name, license, authors, manifest_path }) {
  const folder = dirname(manifest_path)
  const files = readdirSync(folder).filter((file) => LICENCE_FILE.test(file))
  const chosen =
    /\bMIT\b/.test(license ?? '') && !/\bAND\b/.test(license) ? files.filter((file) => /mit/i.test(file)) : []
  const taken = chosen.length > 0 ? chosen : files
  if (taken.length > 0) return taken.map((file) => tidy(readFileSync(join(folder, file), 'utf8')))
  if (!/\bMIT\b/.test(license ?? '')) throw new Error(`${name} (${license}) has no licence text`)
  return [`MIT License\n\nCopyright (c) ${authors.join(', ') || `the authors of ${name}`}\n\n${MIT}`]
}

function tidy(text) {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[ \t]+$/gm, '')
    .trim()
}

function write() {
  const sharers = new Map()
  const add = (text, crate) => sharers.set(text, [...(sharers.get(text) ?? []), crate])
  for (const one of linked()) {
    for (const text of textsOf(one)) add(text, `${one.name} ${one.version} (${one.license ?? 'see below'})`)
  }
  add(`Copyright (c) The Rust Project Contributors\n\n${MIT}`, 'The Rust standard library (MIT OR Apache-2.0)')
  const line = '-'.repeat(100)
  const sections = [...sharers].map(([text, crates]) => `${line}\n${crates.join('\n')}\n${line}\n\n${text}\n`)
  return `${HEAD}\n${sections.join('\n')}`
}

const current = write()
if (process.argv.includes('--check')) {
  if (!existsSync(FILE) || readFileSync(FILE, 'utf8') !== current) {
    console.error('THIRD_PARTY_LICENSES.txt is not what the crates in Cargo.lock say: npm run licences')
    process.exit(1)
  }
} else {
  writeFileSync(FILE, current)
}
