// `npm run test:mutations`: breaks the core in one place after the other, and says which test notices. With words only
// the mutations whose names have one of them: `npm run test:mutations -- token`. Ends with 1 when a mutation isn't
// caught, doesn't compile or isn't found in the source, or when a test fails without one.
//
// It works on a copy of the sources, with a target folder of its own: both stay below `target/mutations`, so that the
// next run builds little. Which mutations there are: `mutations/list.mjs`.
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { MUTATIONS, mutated } from './mutations/list.mjs'
import { redisServer, requireCargo } from './prepare.mjs'

const HERE = 'target/mutations'
const COPY = join(HERE, 'source')
const SOURCES = ['Cargo.toml', 'Cargo.lock', 'crates']
const LONGEST_MS = 600_000

// Built more often than run.
const UNOPTIMISED = ['opt-level=0', 'debug=false'].flatMap((one) => [
  '--config',
  `profile.ci.package.concurrency-limit.${one}`,
])

/** Makes `to` what `from` is, and leaves alone what is the same already, so that cargo doesn't build it again. */
function bring(from, to) {
  if (statSync(from).isDirectory()) {
    mkdirSync(to, { recursive: true })
    const names = readdirSync(from)
    for (const gone of readdirSync(to).filter((name) => !names.includes(name)))
      rmSync(join(to, gone), { recursive: true })
    for (const name of names) bring(join(from, name), join(to, name))
  } else if (!existsSync(to) || !readFileSync(from).equals(readFileSync(to))) {
    mkdirSync(dirname(to), { recursive: true })
    cpSync(from, to, { dereference: true })
  }
}

const bringAll = () => {
  for (const source of SOURCES) bring(source, join(COPY, source))
}

/** Runs some tests of the copy, as `target: filter`; those that failed. */
async function failedOf(tests) {
  const [target, filter] = tests.split(': ')
  const which = target === 'lib' ? ['--lib'] : ['--test', target]
  const what = ['--profile', 'ci', '--package', 'concurrency-limit', ...which]
  const args = ['test', '--offline', ...UNOPTIMISED, ...what, '--', filter]
  const options = {
    cwd: COPY,
    timeout: LONGEST_MS,
    maxBuffer: 2 ** 28,
    env: { ...process.env, CARGO_TARGET_DIR: join(process.cwd(), HERE, 'target') },
  }
  const { error, stdout, stderr } = await new Promise((resolve) =>
    execFile('cargo', args, options, (error, stdout, stderr) => resolve({ error, stdout, stderr })),
  )
  if (error?.killed) return [`${tests} did not end`]
  if (!/^running [1-9]/m.test(stdout)) throw new Error(`${tests}: no test ran\n${stderr}`)
  if (error === null) return []
  const failed = [...stdout.matchAll(/^test (\S+) \.\.\. FAILED/gm)].map(([, name]) => name)
  return failed.length > 0 ? failed : [`${tests} ended with ${error.code}`]
}

/** The first of its tests that notices; nothing if none does. */
async function caught(mutation) {
  const file = join(COPY, mutation.file)
  writeFileSync(file, mutated(readFileSync(file, 'utf8'), mutation))
  try {
    for (const tests of mutation.tests) {
      const [first] = await failedOf(tests)
      if (first !== undefined) return first
    }
  } finally {
    bringAll()
  }
}

const seconds = (since) => ((performance.now() - since) / 1000).toFixed(0)

const words = process.argv.slice(2)
const chosen = MUTATIONS.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
if (chosen.length === 0) {
  console.error(`no mutation has a name with ${words.join(' or ')}`)
  process.exit(2)
}
requireCargo()
process.env.REDIS_SERVER_BIN ??= await redisServer()
bringAll()
let wrong = false
for (const tests of new Set(chosen.flatMap((mutation) => mutation.tests))) {
  const failed = await failedOf(tests)
  if (failed.length > 0) {
    wrong = true
    console.error(`fails without a mutation: ${failed.join(', ')}`)
  }
}
for (const mutation of wrong ? [] : chosen) {
  const since = performance.now()
  let by
  try {
    by = await caught(mutation)
  } catch (error) {
    console.error(`${mutation.name}: ${error.message}`)
  }
  wrong ||= by === undefined
  console.log(`${mutation.name.padEnd(60)}  ${(by ?? 'NOT CAUGHT').padEnd(80)}  ${seconds(since).padStart(4)} s`)
}
process.exitCode = wrong ? 1 : 0
