// `releaseOn`: on a signal slots are given back, and the signal does what it would have done without it.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Limiter } from 'concurrency-limit'
import { afterEach, describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { runNode, startRedis, until } from '../support/helpers.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const server = useRedis()
const witness = useLimiter(server)

const children = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

const HEAD = `
  import { Limiter } from 'concurrency-limit'
  const open = (releaseOn) => new Limiter(process.env.SERVER, { releaseOn, keyPrefix: process.env.PREFIX })
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
  setTimeout(() => process.exit(99), 15_000)`

/** A program that says `ready`: `{ pid, kill, ready, ended }`, the latter as `{ code, signal, output }`. */
function start(
  body,
  { command = [process.execPath, '--input-type=module', '-'], source = `${HEAD}\n${body}`, env } = {},
) {
  const [file, ...args] = command
  const child = spawn(file, args, { cwd: ROOT, env: { ...process.env, SERVER: server.url, PREFIX: 'cl', ...env } })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  child.stdin.end(source)
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal, output })))
  const ready = () => until(() => /ready/.test(output), 'the program is ready')
  return { pid: child.pid, kill: (signal) => child.kill(signal), ready, ended, output: () => output }
}

/** Whether nobody holds or waits, as Redis says at once. */
async function isFree(key) {
  const { held, waiting } = await witness.status(key)
  return held === 0 && waiting === 0
}

describe('where nobody else listens', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'])('%s gives back what is held, and ends the process', async (signal) => {
    const program = start(`
      const limiter = open(['${signal}'])
      await limiter.acquire({ key: '${signal}', limit: 2 })
      await open().acquire({ key: '${signal}', limit: 2 }) // another limiter, which doesn't ask for it
      limiter.acquire({ key: '${signal}', limit: 2, limitTimeout: 60 }).catch(() => console.log('told'))
      while ((await limiter.status('${signal}')).waiting < 1) await sleep(5)
      console.log('ready')`)
    await program.ready()
    program.kill(signal)
    expect(await program.ended).toEqual({ code: null, signal, output: 'ready\n' })
    expect(await isFree(signal)).toBe(true)
  })

  test('a process under a shell gives it 128 and the signal', async () => {
    const inner = `${HEAD}
      await open(['SIGTERM']).acquire({ key: 'shell', limit: 1 })
      process.kill(process.pid, 'SIGTERM')
      await sleep(10_000)`
    const script = `"${process.execPath}" --input-type=module -e "$PROGRAM"; echo "code $?"`
    const program = start('', { command: ['sh', '-c', script], source: '', env: { PROGRAM: inner } })
    expect((await program.ended).output).toMatch(/code 143\n$/)
    expect(await isFree('shell')).toBe(true)
  })

  test('a signal that it was not asked for, and one after close(), do what they always do', async () => {
    const program = start(`
      const limiter = open(['SIGINT'])
      console.log(process.listenerCount('SIGINT'), process.listenerCount('SIGTERM'))
      const twin = open(['SIGINT', 'SIGINT'])
      console.log(process.listenerCount('SIGINT'))
      await limiter.acquire({ key: 'other', limit: 1, limitExpire: 0.5 })
      await limiter.close()
      await twin.close()
      console.log(process.listenerCount('SIGINT'))
      await open([]).close()
      console.log('ready')`)
    await program.ready()
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: null, signal: 'SIGTERM', output: '1 0\n1\n0\nready\n' })
  })

  test('it ends soon when Redis stands still', async () => {
    const gone = await startRedis()
    const program = start(
      `
      await open(['SIGTERM']).acquire({ key: 'k', limit: 1 })
      process.kill(${gone.pid}, 'SIGSTOP')
      console.log('ready')`,
      { env: { SERVER: gone.url } },
    )
    await program.ready()
    const began = performance.now()
    program.kill('SIGTERM')
    expect(await program.ended).toMatchObject({ signal: 'SIGTERM' })
    expect(performance.now() - began).toBeLessThan(3000)
    process.kill(gone.pid, 'SIGCONT')
    await gone.stop()
  })

  test('it gives back over a client of the user, too, which needs the event loop', async () => {
    const program = start(`
      import { Redis } from 'ioredis'
      const limiter = new Limiter({ client: new Redis(process.env.SERVER), releaseOn: ['SIGTERM'] })
      await limiter.acquire({ key: 'brought', limit: 1 })
      console.log('ready')`)
    await program.ready()
    program.kill('SIGTERM')
    expect(await program.ended).toMatchObject({ signal: 'SIGTERM' })
    expect(await isFree('brought')).toBe(true)
  })
})

describe('where others listen', () => {
  test.each([
    ['before', `process.on('SIGTERM', mine); limiter = open(['SIGTERM'])`],
    ['before, once', `process.once('SIGTERM', mine); limiter = open(['SIGTERM'])`],
    ['after', `limiter = open(['SIGTERM']); process.on('SIGTERM', mine)`],
    ['after, once', `limiter = open(['SIGTERM']); process.once('SIGTERM', mine)`],
  ])('(%s) the limiter is closed, and they end the process', async (_, listen) => {
    const program = start(`
      let limiter
      const mine = async () => {
        await sleep(300)
        console.log('mine', lease.lost)
        process.exit(7)
      }
      ${listen}
      const lease = await limiter.acquire({ key: 'others', limit: 1 })
      limiter.acquire({ key: 'others', limit: 1 }).catch(({ code }) => console.log(code))
      while ((await limiter.status('others')).waiting < 1) await sleep(5)
      console.log('ready')`)
    await program.ready()
    program.kill('SIGTERM')
    const output = 'ready\nERR_CLOSED\nmine true\n'
    expect(await program.ended).toEqual({ code: 7, signal: null, output })
    expect(await isFree('others')).toBe(true)
  })
})

test('Ctrl-C in a terminal gives back and ends the program by SIGINT', async () => {
  const inner = `${HEAD}
    await open(['SIGINT']).acquire({ key: 'terminal', limit: 1 })
    console.log('ready')`
  // A terminal of its own, in which the program is in the foreground: 3 is Ctrl-C.
  const python = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], '--input-type=module', '-e', os.environ['PROGRAM']])
seen = b''
while b'ready' not in seen:
    seen += os.read(terminal, 1024)
os.write(terminal, bytes([3]))
try:
    while os.read(terminal, 1024): pass
except OSError:
    pass
_, status = os.waitpid(pid, 0)
print('signal', os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
`
  const program = start('', {
    command: ['python3', '-c', python, process.execPath],
    source: '',
    env: { PROGRAM: inner },
  })
  expect((await program.ended).output).toBe('signal 2\n')
  expect(await isFree('terminal')).toBe(true)
})

test('node --watch starts anew and has its slot at once', async () => {
  const folder = mkdtempSync(join(ROOT, '.watched-'))
  const file = join(folder, 'program.mjs')
  const source = `${HEAD}
    const lease = await open(['SIGTERM']).acquire({ key: 'watch', limit: 1, limitTimeout: 5 })
    console.log('ready', lease.waited < 1)`
  writeFileSync(file, source)
  const program = start('', { command: [process.execPath, '--watch', file], source: '' })
  try {
    await program.ready()
    // The watcher may need a moment before it sees changes.
    const times = () => program.output().match(/ready true/g)?.length ?? 0
    let changes = 0
    await until(() => {
      if (changes++ % 100 === 0) writeFileSync(file, `${source} // ${changes}`)
      return times() >= 2
    }, 'it was started anew')
    expect(program.output()).not.toContain('ready false')
  } finally {
    program.kill('SIGTERM')
    await program.ended
    rmSync(folder, { recursive: true, force: true })
  }
  await until(() => isFree('watch'), 'the last one gave back, too')
})

test('a limiter that is dropped takes its listener along', async () => {
  const source = `${HEAD}
    await open(['SIGTERM']).withLimit({ key: 'dropped', limit: 1 }, () => {})
    for (let i = 0; process.listenerCount('SIGTERM') > 0 && i < 500; i++) {
      gc()
      await sleep(10)
    }
    console.log(process.listenerCount('SIGTERM'))
    process.exit()`
  const args = ['--expose-gc', '--input-type=module', '-']
  expect(await runNode(args, { source, env: { SERVER: server.url } })).toEqual({ code: 0, output: '0\n' })
})

test('a bad list is named, and so is a worker thread', async () => {
  for (const releaseOn of ['SIGTERM', ['SIGKILL'], ['sigterm'], [9], {}, null]) {
    const make = () => new Limiter('memory:', { releaseOn })
    expect(make).toThrow(expect.objectContaining({ code: 'ERR_CONFIG', option: 'releaseOn' }))
  }
  const source = `
    import { Worker } from 'node:worker_threads'
    const program = \`
      const { Limiter } = require('concurrency-limit')
      try { new Limiter('memory:', { releaseOn: ['SIGTERM'] }) } catch (error) { console.log(error.message) }\`
    new Worker(program, { eval: true, execArgv: [] })`
  const { output } = await runNode(['--input-type=module', '-'], { source })
  expect(output).toBe('releaseOn: expected none in a worker thread, which hears no signals, but got SIGTERM\n')
})
