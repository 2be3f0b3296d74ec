// `npm run build:release [-- --target <triple>]`: a binary as it is published, in artifacts/<triple>/.
//
// Linux binaries are linked by zig, so that one binary suits old and new systems: glibc down to 2.17, or musl. zig and
// cargo-zigbuild are taken from the PATH, else installed from PyPI into target/zig. Other platforms are built with
// their own linker, on themselves. Tests nothing; that is `npm run test:package`.
import { execFileSync } from 'node:child_process'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { dependencies, onPath, requireCargo } from './prepare.mjs'
import { run, timed } from './step.mjs'

const GLIBC_FLOOR = '2.17'
const TOOLS = ['ziglang==0.17.1', 'cargo-zigbuild==0.24.0']
const VENV = join('target', 'zig')

/** The triple of the machine that builds. */
function hostTriple() {
  return /^host: (.+)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))[1]
}

/** zig and cargo-zigbuild on the PATH; false if they can't be had. */
async function zig() {
  if (onPath('cargo-zigbuild') && onPath('zig')) return true
  const bin = join(process.cwd(), VENV, 'bin')
  process.env.PATH = bin + delimiter + process.env.PATH
  if (onPath('cargo-zigbuild')) return true
  const code = await timed('install zig', async () => {
    const made = await run('python3', ['-m', 'venv', VENV], { minutes: 2 })
    if (made !== 0) return made
    return run(join(bin, 'pip'), ['install', '--quiet', '--only-binary', ':all:', ...TOOLS], { minutes: 5 })
  })
  return code === 0 && onPath('cargo-zigbuild') !== null
}

/**
 * Folders of this machine stay out of the messages of panics, so that two machines build the same. On Windows the C
 * runtime is linked in, because not every machine has it.
 */
function rustFlags(target) {
  const cargo = process.env.CARGO_HOME ?? join(homedir(), '.cargo')
  const flags = [`--remap-path-prefix=${cargo}=cargo`, `--remap-path-prefix=${process.cwd()}=.`]
  if (target.includes('windows')) flags.push('-Ctarget-feature=+crt-static')
  return [process.env.RUSTFLAGS, ...flags].filter(Boolean).join(' ')
}

/** Builds for `target` into artifacts/<target>; its folder, or null if zig isn't to be had here. */
export async function buildRelease(target = hostTriple()) {
  requireCargo()
  await dependencies()
  const isLinux = target.includes('linux')
  if (isLinux && !(await zig())) return null
  const folder = join('artifacts', target)
  const triple = target.endsWith('linux-gnu') ? `${target}.${GLIBC_FLOOR}` : target
  const args = ['build', '--platform', '--release', ...(isLinux ? ['--cross-compile'] : []), '--target', triple]
  const places = ['--manifest-path', 'crates/node/Cargo.toml', '--output-dir', folder]
  const generated = ['--js', 'native.js', '--dts', 'native.d.ts']
  const env = { RUSTFLAGS: rustFlags(target) }
  const napi = () => run('npx', ['--no-install', 'napi', ...args, ...places, ...generated], { env })
  const code = await timed(`build ${triple}`, napi)
  if (code !== 0) process.exit(code)
  return folder
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { target: { type: 'string' } } })
  if ((await buildRelease(values.target)) === null) {
    console.error(
      'zig was not found and could not be installed from PyPI. Install zig and cargo-zigbuild, and try again.',
    )
    process.exit(1)
  }
}
