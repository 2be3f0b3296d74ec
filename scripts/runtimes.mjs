// The runtimes that the package is tried on, out of npm packages. Each is unpacked once into a folder that git doesn't
// know; nothing is installed in the system.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { once } from './cache.mjs'
import { run } from './step.mjs'

const CACHE = fileURLToPath(new URL('../.cache/runtimes', import.meta.url))
const ARCH = { x64: 'x64', arm64: 'aarch64' }[process.arch]
const GLIBC = process.platform === 'linux' ? '-glibc' : ''
const DENO = `@deno/${process.platform}-${process.arch}${GLIBC}`
const BUN = `@oven/bun-${process.platform}-${ARCH}`

/** The permissions that the package needs on Deno; README.md names them. */
const ALLOWED = ['--allow-ffi', '--allow-read', '--allow-env']

const node = (version) => ({ spec: `node@${version}`, file: 'node/bin/node', args: [] })
const RUNTIMES = {
  'node-20': node(20),
  'node-22': node(22),
  'node-24': node(24),
  'node-26': node(26),
  bun: { spec: `${BUN}@1.4`, file: `${BUN}/bin/bun`, args: [] },
  deno: { spec: `${DENO}@2.9`, file: `${DENO}/deno`, args: ['run', '--no-prompt', ...ALLOWED] },
}

/** Their names. */
export const names = Object.keys(RUNTIMES)

/** How a program is run on one of them: `{ file, args }`; null where it can't be had, and the reason is printed. */
export async function runtimeOf(name) {
  const { spec, file, args } = RUNTIMES[name]
  const folder = await once(join(CACHE, name), async (target) => {
    const flags = ['--no-audit', '--no-fund', '--no-save', '--ignore-scripts=false', '--prefix', target]
    if ((await run('npm', ['install', ...flags, spec], { minutes: 5 })) !== 0) return false
    return existsSync(join(target, 'node_modules', file))
  })
  if (folder !== null) return { file: join(folder, 'node_modules', file), args }
  console.error(`${name} is missing: the package ${spec} could not be had`)
  return null
}
