// The package as users get it: packed, and installed from its tarballs alone into an empty folder.
//
// With RELEASE_BINARIES (a folder) its binary is the published one, else the one that the tests run on.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { pack } from '../../scripts/pack.mjs'
import { runNode } from './programs.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const npm = promisify(execFile)

/** Packs into a folder of its own: `{ main, platform, remove() }`, each as `pack` describes it. */
export function packHere() {
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-tarballs-'))
  const [platform, main] = pack(process.env.RELEASE_BINARIES ?? root, folder)
  return { main, platform, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/**
 * Installs tarballs into an empty folder, without network: `{ folder, run(source, options), remove() }`. `run` is a
 * program beside `node_modules`, `type` its kind.
 */
export async function install(tarballs, ...flags) {
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-installed-'))
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  const args = ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', ...flags, ...tarballs]
  await npm('npm', args, { cwd: folder, shell: process.platform === 'win32' })
  const run = (source, { type = 'module', args: more = [], ...options } = {}) =>
    runNode([...more, `--input-type=${type}`, '-'], { source, cwd: folder, ...options })
  return { folder, run, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
