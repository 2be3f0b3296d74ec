// What is published works where nothing else is: the tarballs hold what users need and no more, both ways to load the
// package give the same, and where no binary fits, the error says what to do.
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PLATFORMS } from '../../lib/native.js'
import { install, packHere } from '../support/installed.mjs'
import { runNode, startRedis } from '../support/programs.mjs'

const root = new URL('../..', import.meta.url)
const readJson = (path) => JSON.parse(readFileSync(new URL(path, root), 'utf8'))
const { name, version, napi, engines } = readJson('package.json')

let packed
let installed
let server
beforeAll(async () => {
  packed = packHere()
  installed = await install([packed.main.tarball, packed.platform.tarball])
  if (process.platform !== 'win32') server = await startRedis() // there is none for Windows
}, 120_000)
afterAll(async () => {
  await server?.stop()
  installed?.remove()
  packed?.remove()
})

describe('the tarballs', () => {
  test('of the package has what users need, and nothing else', () => {
    const own = ['lib', 'cli'].flatMap((folder) => {
      const files = readdirSync(new URL(folder, root), { recursive: true, withFileTypes: true })
      return files.filter((file) => file.isFile()).map(({ parentPath, path, name }) => join(parentPath ?? path, name))
    })
    const files = ['CHANGELOG.md', 'LICENSE', 'README.md', 'native.js', 'package.json']
    const entries = ['index', 'otel'].flatMap((entry) => [`${entry}.d.ts`, `${entry}.js`])
    const owned = own.map((file) => relative(fileURLToPath(root), file).replaceAll('\\', '/'))
    expect(packed.main.files.toSorted()).toEqual([...files, ...entries, ...owned].toSorted())
    console.log(`${name}: ${packed.main.size} bytes packed, ${packed.main.unpackedSize} unpacked`)
    expect(packed.main.size).toBeLessThan(128 * 1024)
  })

  test('of a platform has its binary and the licences of what is in it', () => {
    expect(packed.platform.files).toEqual([
      'LICENSE',
      'README.md',
      'THIRD_PARTY_LICENSES.txt',
      `${packed.platform.name.replace('limit-', 'limit.')}.node`,
      'package.json',
    ])
  })

  test('of the package asks for the platform packages in its own version', () => {
    const { optionalDependencies } = JSON.parse(
      readFileSync(join(installed.folder, 'node_modules', name, 'package.json'), 'utf8'),
    )
    expect(optionalDependencies).toEqual({ [packed.platform.name]: version })
  })
})

describe('the platforms', () => {
  const folders = readdirSync(new URL('npm', root)).sort()

  test('are those that the package looks for, each with a folder', () => {
    expect(folders).toEqual(PLATFORMS)
    expect(napi.targets).toHaveLength(PLATFORMS.length)
  })

  test('are all built, tested and published by the release workflow', () => {
    const workflow = readFileSync(new URL('.github/workflows/release.yml', root), 'utf8')
    const [build, ...tests] = workflow.split(/^ {2}test/m)
    const named = (text) => [...text.matchAll(/^ +(?:- )?target: ([\w-]+)$/gm)].map(([, target]) => target)
    expect(named(build).sort()).toEqual([...napi.targets].sort())
    expect([...new Set(named(tests.join('')))].sort()).toEqual([...napi.targets].sort())
  })

  test.each(folders)('%s has a manifest that lets it be installed there and nowhere else', (folder) => {
    const manifest = readJson(`npm/${folder}/package.json`)
    const [os, cpu, abi] = folder.split('-')
    const libc = { gnu: ['glibc'], musl: ['musl'] }[abi]
    expect(manifest).toMatchObject({ name: `${name}-${folder}`, version, engines, os: [os], cpu: [cpu] })
    expect(manifest.libc).toEqual(libc)
    expect(manifest.main).toBe(`${napi.binaryName}.${folder}.node`)
    expect(manifest.files).toEqual([manifest.main])
  })

  test('and the crates have one version', () => {
    const cargo = readFileSync(new URL('Cargo.toml', root), 'utf8')
    expect(cargo.match(/^version = "(.+)"$/m)[1]).toBe(version)
    expect(cargo.match(/^concurrency-limit = \{ version = "([^"]+)"/m)[1]).toBe(version)
  })
})

const job = `
  const limiter = new Limiter(process.env.SERVER)
  const lease = await limiter.acquire({ key: 'installed', limit: 2 })
  console.log(lease.slot, await lease.release())
  await limiter.close()`

describe('installed from its tarballs alone', () => {
  test.each([
    ['import', 'module', `import { Limiter } from '${name}'; ${job}`],
    ['require', 'commonjs', `const { Limiter } = require('${name}'); (async () => { ${job} })()`],
  ])('it limits on the embedded store and on Redis, by %s', async (_, type, source) => {
    for (const SERVER of ['memory:', server?.url].filter(Boolean)) {
      const { code, output } = await installed.run(source, { type, env: { SERVER } })
      expect({ code, output }).toEqual({ code: 0, output: '1 true\n' })
    }
  })

  test('import and require give the same classes, and its manifest can be read', async () => {
    const { output } = await installed.run(`
      import { createRequire } from 'node:module'
      import * as imported from '${name}'
      const require = createRequire(process.cwd() + '/x.js')
      const required = require('${name}')
      const same = Object.keys(required).every((key) => required[key] === imported[key])
      console.log(same, Object.keys(required).length > 8, require('${name}/package.json').version)`)
    expect(output).toBe(`true true ${version}\n`)
  })

  test('its command runs', async () => {
    const command = join(installed.folder, 'node_modules', name, 'cli', 'index.js')
    expect(await runNode([command, '--version'])).toEqual({ code: 0, output: `${version}\n` })
    if (process.platform === 'win32') return
    const linked = promisify(execFile)(join(installed.folder, 'node_modules', '.bin', 'concurrency-limit'), ['keys'], {
      env: { ...process.env, REDIS_URL: server.url },
    })
    expect((await linked).stdout).toContain('installed')
  })

  test('it limits in worker threads', async () => {
    const { code, output } = await installed.run(`
      import { Worker } from 'node:worker_threads'
      import { once } from 'node:events'
      const source = \`
        const { Limiter } = require('${name}')
        const limiter = new Limiter('memory:')
        limiter.withLimit({ key: 'k', limit: 1 }, () => 'done')
          .then((done) => require('node:worker_threads').parentPort.postMessage(done))
          .then(() => limiter.close())\`
      const workers = [1, 2, 3].map(() => new Worker(source, { eval: true, execArgv: [] }))
      console.log(...(await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]))))`)
    expect({ code, output }).toEqual({ code: 0, output: 'done done done\n' })
  })

  test('it limits in a bundle that keeps it external', async () => {
    const bundle = join(installed.folder, 'bundle.mjs')
    const built = await runNode(['examples/bundle/build.mjs', bundle])
    expect(built).toEqual({ code: 0, output: '' })
    const ran = await runNode([bundle], { cwd: installed.folder, env: { REDIS_URL: server?.url ?? '' } })
    expect(ran).toEqual({ code: 0, output: 'slot 1, from a bundle\n' })
  })

  test('what is inside is not to be imported', async () => {
    const { output } = await installed.run(`import '${name}/lib/bridge.js'`)
    expect(output).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED')
  })
})

describe('where no binary fits', () => {
  const tell = `
    import { Limiter, BinaryError, ConcurrencyLimitError } from '${name}'
    try {
      new Limiter('memory:')
    } catch (error) {
      const { code, message, platform, arch, libc, node } = error
      const isOurs = error instanceof BinaryError && error instanceof ConcurrencyLimitError
      console.log(JSON.stringify({ isOurs, code, message, platform, arch, libc, node, package: error.package }))
    }`
  const here = { platform: process.platform, arch: process.arch, node: process.versions.node }

  let bare
  beforeAll(async () => {
    bare = await install([packed.main.tarball], '--omit=optional')
  })
  afterAll(() => bare?.remove())

  /** What the first Limiter throws, in a copy of the package without the others. */
  async function thrown(where, options) {
    const { code, output } = await where.run(tell, options)
    expect(code).toBe(0)
    return JSON.parse(output)
  }

  test('the error of the first Limiter names the package to install, and why it may be missing', async () => {
    const error = await thrown(bare)
    expect(error).toMatchObject({ ...here, isOurs: true, code: 'ERR_BINARY', package: packed.platform.name })
    expect(error.message).toContain(`${packed.platform.name} isn't installed`)
    expect(error.message).toContain('--omit=optional')
    expect(error.message).toContain(`${here.platform} ${here.arch}`)
    expect(error.message).toContain(`Node ${here.node}`)
  })

  test('the error says so of a bundle that took the package in, and how to keep it out', async () => {
    const entry = join(bare.folder, 'entry.mjs')
    const outfile = join(bare.folder, 'deployed', 'bundle.cjs')
    writeFileSync(entry, tell)
    for (const [format, banner] of [
      ['cjs', ''],
      ['esm', "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)"],
    ]) {
      const file = outfile.replace('.cjs', format === 'esm' ? '.mjs' : '.cjs')
      await build({
        ...{ entryPoints: [entry], outfile: file, bundle: true, platform: 'node', format, logLevel: 'error' },
        banner: { js: banner },
      })
      const { output } = await runNode([file], { cwd: bare.folder })
      const { code, message } = JSON.parse(output)
      expect({ code, message }).toEqual({ code: 'ERR_BINARY', message: expect.stringContaining('into a bundle') })
      for (const how of [`--external:${name}`, 'webpack', 'Rollup', 'Vite', 'Next.js', packed.platform.name]) {
        expect(message).toContain(how)
      }
    }
  })

  test('the error says so of a bundle with something else in place of the binary', async () => {
    const entry = join(installed.folder, 'entry.mjs')
    const outfile = join(installed.folder, 'deployed', 'bundle.cjs')
    writeFileSync(entry, tell)
    await build({ entryPoints: [entry], outfile, bundle: true, platform: 'node', loader: { '.node': 'empty' } })
    const { message } = JSON.parse((await runNode([outfile], { cwd: installed.folder })).output)
    expect(message).toContain('into a bundle')
  })

  test('the error names the package of another platform that is installed instead', async () => {
    const other = `${name}-${PLATFORMS.find((platform) => !packed.platform.name.endsWith(platform))}`
    const folder = join(bare.folder, 'node_modules', other)
    mkdirSync(folder)
    writeFileSync(join(folder, 'package.json'), '{}')
    const { message } = await thrown(bare)
    rmSync(folder, { recursive: true })
    expect(message).toContain(`installed is ${other}, but this process needs ${packed.platform.name}`)
    expect(message).toContain('node_modules')
  })

  test('loading the package and its types alone throws nothing', async () => {
    const { code, output } = await bare.run(`import { Limiter } from '${name}'; console.log(typeof Limiter)`)
    expect({ code, output }).toEqual({ code: 0, output: 'function\n' })
  })

  test('the error says so of a platform that has none', async () => {
    const pretend = 'data:text/javascript,Object.defineProperty(process,"platform",{value:"sunos"})'
    const error = await thrown(bare, { args: ['--import', pretend] })
    expect(error).toMatchObject({ code: 'ERR_BINARY', platform: 'sunos', libc: null, package: null })
    expect(error.message).toContain('there is no binary of concurrency-limit for this platform')
    for (const platform of PLATFORMS) expect(error.message).toContain(platform)
  })

  test.runIf(process.platform === 'linux')('the error names the C library of a Linux', async () => {
    const { libc, message } = await thrown(bare)
    expect(libc).toMatch(/^(glibc \d+\.\d+|musl)$/)
    expect(message).toContain(libc)
  })

  describe('but is there', () => {
    const permission = Number(process.versions.node.split('.')[0]) < 22 ? '--experimental-permission' : '--permission'

    test.each([
      [permission, ['--allow-fs-read=*'], '--allow-addons'],
      ['--no-addons', [], '--no-addons'],
      [permission, ['--allow-addons', '--allow-fs-read=HERE/node_modules/concurrency-limit/'], '--allow-fs-read'],
    ])('but %s %j forbids it: the error names the flag', async (flag, flags, named) => {
      const args = ['--no-warnings', flag, ...flags.map((text) => text.replace('HERE', installed.folder))]
      const { code, message } = await thrown(installed, { args })
      expect(code).toBe('ERR_BINARY')
      expect(message).toMatch(/this process may not (load|read) the binary/)
      expect(message).toContain(named)
      expect(message).not.toContain('anew')
    })

    let broken
    const inside = (...path) => join(broken.folder, 'node_modules', ...path)
    beforeAll(async () => {
      broken = await install([packed.main.tarball, packed.platform.tarball])
    })
    afterAll(() => broken?.remove())

    test('of another version: the error says both, and to install them together', async () => {
      const manifest = inside(name, 'package.json')
      const text = readFileSync(manifest, 'utf8')
      writeFileSync(manifest, text.replace(`"version": "${version}"`, '"version": "9.9.9"'))
      const error = await thrown(broken)
      writeFileSync(manifest, text)
      expect(error).toMatchObject({ ...here, isOurs: true, code: 'ERR_BINARY', package: packed.platform.name })
      expect(error.message).toContain(`is 9.9.9, but its binary is ${version}`)
      expect(error.message).toContain('together')
    })

    test('but broken: the error says what the system says', async () => {
      const binary = inside(
        packed.platform.name,
        packed.platform.files.find((file) => file.endsWith('.node')),
      )
      renameSync(binary, `${binary}.whole`)
      writeFileSync(binary, 'not a library, but long enough to be looked at')
      const error = await thrown(broken)
      renameSync(`${binary}.whole`, binary)
      expect(error).toMatchObject({ ...here, code: 'ERR_BINARY', package: packed.platform.name })
      expect(error.message).toMatch(/is there but doesn't load: .*(invalid ELF|too short|not a mach-o|not a valid)/i)
    })
  })
})
