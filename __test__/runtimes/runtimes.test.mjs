// The package on each runtime: processes and threads share a limit, and whatever ends gives its slot back.
// RUNTIMES says how a program is run on each, as JSON: `npm run test:runtimes` fetches them.
import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Limiter } from '../../index.js'
import { startRedis, until } from '../support/helpers.mjs'
import { install, packHere } from '../support/installed.mjs'

const PROGRAM = fileURLToPath(new URL('../support/runtime.worker.mjs', import.meta.url))
const runtimes = Object.entries(JSON.parse(process.env.RUNTIMES))

let server
let limiter
beforeAll(async () => {
  server = await startRedis()
  limiter = new Limiter(server.url)
})
afterAll(async () => {
  await limiter?.close()
  await server?.stop()
})

let last = 0
const freshKey = () => `runtime ${++last}`

/** Runs the program: `{ ended }`, which resolves to `{ code, output }`. */
function start({ file, args }, ...words) {
  const child = spawn(file, [...args, PROGRAM, ...words], {
    env: { ...process.env, REDIS_URL: server.url },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 25_000,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code: code ?? signal, output }))
  })
}

const held = async (key) => (await limiter.status(key)).held

/** Nobody was in a slot with another; so there were never more than the limit. */
function expectApart(turns) {
  for (const slot of [1, 2, 3]) {
    const its = turns.filter(([of]) => of === slot).toSorted(([, one], [, other]) => one - other)
    for (let i = 1; i < its.length; i++) expect(its[i][1]).toBeGreaterThanOrEqual(its[i - 1][2])
  }
  expect(new Set(turns.map(([slot]) => slot))).toEqual(new Set([1, 2, 3]))
}

describe.each(runtimes)('%s', (name, runtime) => {
  const { stdout } = spawnSync(runtime.file, ['--version'], { encoding: 'utf8' })
  test(`is ${stdout.split('\n')[0]}`, () => expect(stdout).toMatch(/\d+\.\d+/))

  test('four processes share a limit', async () => {
    const key = freshKey()
    const ended = await Promise.all([1, 2, 3, 4].map(() => start(runtime, 'contend', key)))
    for (const { code, output } of ended) expect({ code, output }).toMatchObject({ code: 0 })
    const turns = ended.flatMap(({ output }) => JSON.parse(output))
    expect(turns.length).toBeGreaterThanOrEqual(160)
    expectApart(turns)
  })

  test('four worker threads share a limit', async () => {
    const { code, output } = await start(runtime, 'contend in workers', freshKey())
    expect({ code, output }).toMatchObject({ code: 0 })
    expectApart(JSON.parse(output))
  })

  const ends = { idle: 0, exit: 3, throw: 1, reject: 1, ...(name === 'deno' ? { 'Deno.exit': 3 } : {}) }
  test.each(Object.entries(ends))('a process that holds and ends by %s gives its slot back', async (how, expected) => {
    const key = freshKey()
    const gate = await limiter.acquire({ key: `${key}:end`, limit: 1 })
    const ended = start(runtime, how, key)
    await until(async () => (await held(key)) === 1, 'it holds', 20_000)
    await gate.release()
    expect(await ended).toMatchObject({ code: expected })
    await until(async () => (await held(key)) === 0, 'its slot is back', 5000)
  })

  test.each(['idle', 'exit', 'throw', 'terminate'])(
    'a worker thread that holds and ends by %s gives its slot back, while its process lives',
    async (how) => {
      const key = freshKey()
      const gates = ['end', 'leave'].map((word) => limiter.acquire({ key: `${key}:${word}`, limit: 1 }))
      const [end, leave] = await Promise.all(gates)
      const ended = start(runtime, `worker ${how}`, key)
      await until(async () => (await held(key)) === 1, 'it holds', 20_000)
      await end.release()
      await until(async () => (await held(key)) === 0, 'its slot is back', 5000)
      await leave.release()
      expect(await ended).toMatchObject({ code: 0 })
    },
  )
})

const loading = (how) => `
  const { createRequire } = require('node:module')
  const { Limiter } = ${how}
  try {
    const limiter = new Limiter('memory:')
    limiter.withLimit({ key: 'k', limit: 1 }, () => console.log('done')).then(() => limiter.close())
  } catch (error) { console.log(error.code, error.message) }`

describe('installed', () => {
  let packed
  let installed
  beforeAll(async () => {
    packed = packHere()
    installed = await install([packed.main.tarball, packed.platform.tarball])
  }, 120_000)
  afterAll(() => {
    installed?.remove()
    packed?.remove()
  })
  const write = (file, text) => writeFileSync(join(installed.folder, file), text)
  const run = (file, args) => {
    const { stdout, stderr } = spawnSync(file, args, { cwd: installed.folder, encoding: 'utf8' })
    return stdout + stderr
  }

  const deno = runtimes.find(([name]) => name === 'deno')?.[1]
  test.runIf(deno).each(['--allow-ffi', '--allow-read', '--allow-env'])(
    'Deno without %s names what it needs',
    (flag) => {
      write('program.cjs', loading("require('concurrency-limit')"))
      const args = deno.args.filter((arg) => arg !== flag)
      expect(run(deno.file, [...deno.args, 'program.cjs'])).toBe('done\n')
      const said = run(deno.file, [...args, 'program.cjs'])
      expect(said).toMatch(/^ERR_BINARY Deno may not load .*--allow-ffi, --allow-read and --allow-env/)
    },
  )

  const newest = runtimes.find(([name]) => name === 'node-26')?.[1]
  const executable = (main) => {
    write('sea.json', JSON.stringify({ main: `${main}.cjs`, output: main, disableExperimentalSEAWarning: true }))
    run(newest.file, ['--build-sea', 'sea.json'])
    return run(join(installed.folder, main), [])
  }

  const BUILD_MS = 120_000 // it writes 150 MB

  test.runIf(newest)(
    'a single executable loads it from beside itself',
    () => {
      write('beside.cjs', loading("createRequire(process.execPath)('concurrency-limit')"))
      expect(executable('beside')).toBe('done\n')
    },
    BUILD_MS,
  )

  test.runIf(newest)(
    'a single executable that took it in says what to do',
    () => {
      write('in.cjs', loading("require('concurrency-limit')"))
      const esbuild = fileURLToPath(new URL('../../node_modules/esbuild/bin/esbuild', import.meta.url))
      run(esbuild, ['in.cjs', '--bundle', '--platform=node', '--loader:.node=copy', '--outfile=bundled.cjs'])
      expect(executable('bundled')).toMatch(/^ERR_BINARY .*single executable.*createRequire\(process\.execPath\)/)
    },
    BUILD_MS,
  )
})
