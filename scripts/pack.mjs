// Packs what is published: one tarball of the main package and one for each platform whose binary is in a folder.
// `node scripts/pack.mjs <folder of .node files> <folder for the tarballs>` prints each tarball with its sizes.
//
// Works on a copy: the clone's package.json names no platform packages, because before the first release of a version
// there are none to install. Publishes nothing; with --all it fails unless every platform is there.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseTriple } from '@napi-rs/cli'

const root = fileURLToPath(new URL('..', import.meta.url))
const GENERATED = 'native.js' // lies beside the binaries that it was built with
const NOTICES = ['LICENSE', 'THIRD_PARTY_LICENSES.txt']

const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))
const writeJson = (file, value) => writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)

function changeJson(file, change) {
  const value = readJson(file)
  change(value)
  writeJson(file, value)
}

const binaryOf = (target) => `${readJson(join(root, 'package.json')).napi.binaryName}.${platformOf(target)}.node`
const platformOf = (target) => parseTriple(target).platformArchABI

function napi(stage, ...args) {
  const cli = join(root, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js')
  execFileSync(process.execPath, [cli, ...args], { cwd: stage, stdio: 'pipe' })
}

/** A copy of what the main package consists of, with the folders of the platforms whose binaries are there. */
function stagePackages(stage, binaries, targets) {
  const { files } = readJson(join(root, 'package.json'))
  for (const name of ['package.json', 'README.md', 'LICENSE', ...files]) {
    const from = name === GENERATED ? binaries : root
    cpSync(join(from, name), join(stage, name), { recursive: true })
  }
  changeJson(join(stage, 'package.json'), (main) => {
    main.napi.targets = targets
  })
  for (const target of targets) {
    const folder = join(stage, 'npm', platformOf(target))
    cpSync(join(root, 'npm', platformOf(target)), folder, { recursive: true })
    for (const name of NOTICES) cpSync(join(root, name), join(folder, name))
    changeJson(join(folder, 'package.json'), (platform) => platform.files.push('THIRD_PARTY_LICENSES.txt'))
    cpSync(join(binaries, binaryOf(target)), join(stage, 'built', binaryOf(target)))
  }
  napi(stage, 'artifacts', '--output-dir', 'built', '--npm-dir', 'npm')
  // Writes the platform packages into the main one as optional dependencies, each in exactly this version.
  napi(stage, 'pre-publish', '--npm-dir', 'npm', '--tag-style', 'npm', '--skip-optional-publish', '--no-gh-release')
}

function packOne(folder, out) {
  const args = ['pack', '--json', '--pack-destination', out]
  const text = execFileSync('npm', args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: 'pipe',
    shell: process.platform === 'win32',
  })
  const answer = JSON.parse(text)
  const [{ name, filename, size, unpackedSize, files }] = Array.isArray(answer) ? answer : Object.values(answer)
  return { name, tarball: join(out, filename), size, unpackedSize, files: files.map(({ path }) => path).sort() }
}

/** Packs into `out`; the platforms' packages first, the main one last, in the order in which they are published. */
export function pack(binaries, out, { all = false } = {}) {
  const every = readJson(join(root, 'package.json')).napi.targets
  const targets = all ? every : every.filter((target) => existsSync(join(binaries, binaryOf(target))))
  if (targets.length === 0) throw new Error(`${binaries} has no binary of a platform that is published`)
  mkdirSync(out, { recursive: true })
  const stage = mkdtempSync(join(tmpdir(), 'concurrency-limit-pack-'))
  try {
    stagePackages(stage, resolve(binaries), targets)
    const folders = targets.map((target) => join(stage, 'npm', platformOf(target)))
    return [...folders, stage].map((folder) => packOne(folder, resolve(out)))
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [binaries, out] = process.argv.slice(2).filter((arg) => arg !== '--all')
  const packages = pack(binaries, out, { all: process.argv.includes('--all') })
  for (const { name, size, unpackedSize, tarball } of packages) {
    console.log(`${name}: ${size} bytes, ${unpackedSize} unpacked, ${tarball}`)
  }
}
