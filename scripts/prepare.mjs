// Makes a fresh clone ready to run: npm dependencies, the binding, a redis-server. Each is looked at first and made
// only when it is missing or older than what it is made from, so a second run costs milliseconds.
//
// Uses nothing but Node. It starts no server and installs no Rust: it says what is missing instead.
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, timed } from './step.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
process.chdir(root)
process.env.PATH += delimiter + join(homedir(), '.cargo', 'bin')

function giveUp(message) {
  console.error(message)
  process.exit(1)
}

/** The file that a command's name stands for; null if there is none. */
export function onPath(name) {
  const endings = process.platform === 'win32' ? ['.exe', '.cmd'] : ['']
  const folders = (process.env.PATH ?? '').split(delimiter)
  for (const file of folders.flatMap((folder) => endings.map((ending) => join(folder, name + ending)))) {
    try {
      accessSync(file, constants.X_OK)
      if (statSync(file).isFile()) return file
    } catch {
      // not in this folder
    }
  }
  return null
}

/** What is installed has every package of the lock file in its version; optional ones may be absent. */
function dependenciesAreCurrent() {
  const installed = 'node_modules/.package-lock.json'
  if (!existsSync(installed)) return false
  const read = (file) => JSON.parse(readFileSync(file, 'utf8')).packages
  const have = read(installed)
  return Object.entries(read('package-lock.json')).every(
    ([name, { version, optional, devOptional }]) =>
      name === '' || (name in have ? have[name].version === version : Boolean(optional || devOptional)),
  )
}

/** npm dependencies as the lock file names them. */
export async function dependencies() {
  if (dependenciesAreCurrent()) return
  const code = await timed('npm ci', () => run('npm', ['ci', '--no-fund', '--no-audit'], { minutes: 10 }))
  if (code !== 0) giveUp('npm ci failed')
}

function newest(path) {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))))
}

const SOURCES = [
  'Cargo.toml',
  'Cargo.lock',
  'package.json',
  'crates/node',
  'crates/core/Cargo.toml',
  'crates/core/src',
  'crates/core/lua',
]

function bindingIsCurrent() {
  const begins = `concurrency-limit.${process.platform}-${process.arch}`
  const built = readdirSync('.').filter((name) => name.startsWith(begins) && name.endsWith('.node'))
  if (built.length === 0 || !existsSync('native.js')) return false
  const sources = Math.max(...SOURCES.filter((path) => existsSync(path)).map(newest))
  return built.some((name) => statSync(name).mtimeMs >= sources)
}

/** The binding of this platform, built quickly rather than for speed; a release build that is there is kept. */
export async function binding() {
  if (bindingIsCurrent()) return
  requireCargo()
  const code = await timed('build the binding', () => run('npm', ['run', '--silent', 'build:quick'], { minutes: 15 }))
  if (code !== 0) giveUp('the binding could not be built')
}

/** Ends with a clear message where Rust is missing. */
export function requireCargo() {
  if (!onPath('cargo')) giveUp('cargo was not found. Install Rust 1.88 or newer (https://rustup.rs) and try again.')
}

async function installRedis() {
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  if (!onPath('apt-get') || (asRoot.length > 0 && !onPath('sudo'))) return
  const apt = (...args) => {
    const [command, ...rest] = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args]
    return run(command, rest, { minutes: 5 })
  }
  await timed('install redis-server', async () => {
    await apt('update', '-q')
    await apt('install', '-y', '-q', '--no-install-recommends', 'redis-server')
  })
}

/** A redis-server binary, named in REDIS_SERVER_BIN for all that is run afterwards. */
export async function redisServer() {
  const find = () => onPath('redis-server') ?? onPath('valkey-server')
  const named = process.env.REDIS_SERVER_BIN
  if (named) {
    if (!existsSync(named)) giveUp(`REDIS_SERVER_BIN names ${named}, which isn't there`)
    return named
  }
  if (!find()) await installRedis()
  const found = find()
  if (!found) {
    giveUp('redis-server was not found and could not be installed. Install it, or set REDIS_SERVER_BIN to its path.')
  }
  process.env.REDIS_SERVER_BIN = found
  return found
}
