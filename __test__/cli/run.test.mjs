// run: a command under a limit, what it is told, and what becomes of it and of its slot however either ends.
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cli, startCli } from '../support/cli.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { startRedis, until } from '../support/helpers.mjs'
import { onTerminal } from '../support/terminal.mjs'

const server = useRedis()
let env
let limiter
let folder
beforeAll(() => {
  env = { REDIS_URL: server.url }
  limiter = new Limiter(server.url)
  folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-run-'))
})
afterAll(async () => {
  await limiter?.close()
  rmSync(folder, { recursive: true })
})

const run = (options, ...command) => cli(['run', ...options, '--', ...command], { env, cwd: folder })
const start = (options, ...command) => startCli(['run', ...options, '--', ...command], { env, cwd: folder })
const free = async (key) => expect(await limiter.status(key)).toMatchObject({ held: 0, waiting: 0 })
const holders = async (key) => (await limiter.status(key)).holders
const shows = ({ output }, words) => until(() => output.stdout.includes(words), `it writes ${words}`)

/** A command that says that it is ready, and goes on until a signal that ends it with that code. */
const trapping = (traps) => ['sh', '-c', `${traps}; echo ready; while :; do sleep 0.02; done`]

test('the command has slot and token in its environment, and its exit code is ours', async () => {
  const script = 'console.log(JSON.stringify(process.env)); process.exit(7)'
  const { code, stdout } = await run(['--key', 'env', '--limit', '3', '--weight', '2'], process.execPath, '-e', script)
  expect(code).toBe(7)
  const seen = JSON.parse(stdout)
  expect(seen).toMatchObject({
    ...{ CONCURRENCY_LIMIT_KEY: 'env', CONCURRENCY_LIMIT_SLOT: '1', CONCURRENCY_LIMIT_SLOTS: '1,2' },
  })
  expect(seen.CONCURRENCY_LIMIT_LEASE).toMatch(/^[0-9a-f]{16}-\d+$/)
  expect(Number(seen.CONCURRENCY_LIMIT_TOKEN)).toBeGreaterThan(0)
  await free('env')
})

test('no shell reads the arguments; input and output are those of the command', async () => {
  const args = ['$HOME', 'two  words', '*', '--key', '--', ';true']
  const { stdout } = await run(['--key', 'raw', '--limit', '1'], 'printf', '%s|', ...args)
  expect(stdout).toBe(`${args.join('|')}|`)
  const echo = start(['--key', 'raw', '--limit', '1'], 'cat')
  echo.child.stdin.end('through')
  expect(await echo.ended).toMatchObject({ code: 0, stdout: 'through', stderr: '' })
})

test('a label tells what it does: that of --label, or the command; its process is told beside it', async () => {
  const named = start(['--key', 'label', '--limit', '2', '--label', 'nightly'], ...trapping('trap "exit 0" TERM'))
  await shows(named, 'ready')
  const plain = start(['--key', 'label', '--limit', '2'], ...trapping('trap "exit 0" TERM'))
  await shows(plain, 'ready')
  const told = (await holders('label')).map(({ label, host, pid, program }) => [label, host, pid, program])
  expect(told).toEqual([
    ['nightly', hostname(), named.child.pid, 'concurrency-limit-run'],
    ['sh', hostname(), plain.child.pid, 'concurrency-limit-run'],
  ])
  for (const { child } of [named, plain]) child.kill('SIGTERM')
  expect(await Promise.all([named.ended, plain.ended])).toMatchObject([{ code: 0 }, { code: 0 }])
  await free('label')
})

test('a command with a very long name has a label that fits', async () => {
  const path = join(folder, '🐝'.repeat(60))
  symlinkSync(process.execPath, path)
  expect(await run(['--key', 'bees', '--limit', '1'], path, '-e', 'process.exit(5)')).toMatchObject({ code: 5 })
})

test('never more run than the limit, and all of them in the end', async () => {
  const body = 'mkdir busy || exit 9; sleep 0.05; rmdir busy'
  const runs = Array.from({ length: 5 }, () =>
    run(['--key', 'one', '--limit', '1', '--timeout', '60'], 'sh', '-c', body),
  )
  expect((await Promise.all(runs)).map(({ code }) => code)).toEqual([0, 0, 0, 0, 0])
})

describe('without a slot the command is not started', () => {
  test('75 when the limit was not got in time, or too many wait', async () => {
    const lease = await limiter.acquire({ key: 'full', limit: 1 })
    const options = ['--key', 'full', '--limit', '1']
    const late = await run([...options, '--timeout', '0'], 'echo', 'started')
    expect(late).toMatchObject({ code: 75, stdout: '' })
    expect(late.stderr).toContain("the limit of 1 for 'full' was reached")
    expect(await run([...options, '--max-waiting', '0', '--json'], 'echo')).toMatchObject({ code: 75, stdout: '' })
    await lease.release()
    await free('full')
  })

  test('69 when Redis is not reachable, 64 when the line is wrong', async () => {
    const away = [
      'run',
      '--redis',
      'redis://127.0.0.1:1',
      '--key',
      'k',
      '--limit',
      '1',
      '--timeout',
      '0',
      '--',
      'echo',
      'x',
    ]
    expect(await cli(away)).toMatchObject({ code: 69, stdout: '' })
    for (const [options, words] of [
      [['--limit', '1'], '--key is missing'],
      [['--key', 'k'], '--limit is missing'],
      [['--key', 'k', '--limit', '0'], '--limit: expected an integer from 1 to 1000000, but got 0'],
      [
        ['--key', 'k', '--limit', '1', '--timeout', 'soon'],
        "--timeout: expected seconds, 0 or more, or Infinity, but got 'soon'",
      ],
      [['--key', 'k', '--limit', '1', '--grace', '-1'], '--grace'],
      [['--key', 'k', '--limit', '1', 'echo'], 'unexpected "echo"'],
    ]) {
      const { code, stderr } = await run(options, 'echo')
      expect({ code, stderr }).toMatchObject({ code: 64, stderr: expect.stringContaining(words) })
    }
    expect((await cli(['run', '--key', 'k', '--limit', '1', 'ls'], { env })).stderr).toContain('put it behind --')
  })

  test('a signal while it waits ends it, and leaves the line', async () => {
    const lease = await limiter.acquire({ key: 'line', limit: 1 })
    const waits = start(['--key', 'line', '--limit', '1', '--timeout', 'infinity'], 'echo', 'started')
    await until(async () => (await limiter.status('line')).waiting === 1, 'it waits')
    waits.child.kill('SIGTERM')
    expect(await waits.ended).toMatchObject({ code: 143, stdout: '' })
    expect((await limiter.status('line')).waiting).toBe(0)
    await lease.release()
  })

  test('127 when there is no such command, 126 when it cannot be started; the slot is given back', async () => {
    writeFileSync(join(folder, 'not-executable'), '')
    for (const [command, code] of [
      ['no-such-command', 127],
      ['./not-executable', 126],
    ]) {
      const ended = await run(['--key', 'bad', '--limit', '1'], command)
      expect(ended).toMatchObject({ code, stdout: '' })
      expect(ended.stderr.split('\n')).toHaveLength(2)
      await free('bad')
    }
  })
})

describe('signals', () => {
  test.each([
    ['SIGTERM', 'TERM', 3],
    ['SIGINT', 'INT', 4],
    ['SIGHUP', 'HUP', 5],
    ['SIGQUIT', 'QUIT', 6],
    ['SIGUSR1', 'USR1', 7],
    ['SIGUSR2', 'USR2', 8],
  ])('%s is passed on, and what the command makes of it is the exit code', async (signal, name, code) => {
    const job = start(['--key', 'signals', '--limit', '1'], ...trapping(`trap "exit ${code}" ${name}`))
    await shows(job, 'ready')
    job.child.kill(signal)
    expect(await job.ended).toMatchObject({ code, signal: null })
    await free('signals')
  })

  test('a command that a signal ends is 128 + N', async () => {
    expect(await run(['--key', 'killed', '--limit', '1'], 'sh', '-c', 'kill -9 $$')).toMatchObject({ code: 137 })
    await free('killed')
  })

  test('Ctrl-C on a terminal reaches the command once, and its end is waited for', async () => {
    const body = 'trap "echo interrupted" INT; echo ready; sleep 0.3; sleep 0.3; echo done; exit 5'
    const job = await onTerminal(['run', '--key', 'typed', '--limit', '1', '--', 'sh', '-c', body], { env })
    await until(() => job.text().includes('ready'), 'it runs')
    job.type('\u0003')
    expect(await job.ended).toBe(5)
    expect(job.text().match(/interrupted/g)).toHaveLength(1)
    expect(job.text()).toContain('done')
  })
})

describe('when the slot is lost while the command runs', () => {
  const options = ['--key', 'lost', '--limit', '1', '--expire', '0.6']
  const takeAway = async () => {
    const [{ leaseId }] = await holders('lost')
    await limiter.release({ key: 'lost', leaseId })
  }

  test('it gets SIGTERM, and its code is ours', async () => {
    const job = start(options, ...trapping('trap "echo told; exit 3" TERM'))
    await shows(job, 'ready')
    await takeAway()
    const { code, stdout, stderr } = await job.ended
    expect({ code, stdout }).toEqual({ code: 3, stdout: 'ready\ntold\n' })
    expect(stderr).toMatch(/slot 1 of 'lost' was lost: .*; the command is ended/)
  })

  test('a command that ends well all the same is 74, and JSON tells each step', async () => {
    const job = start([...options, '--json'], ...trapping('trap "exit 0" TERM'))
    await shows(job, 'ready')
    await takeAway()
    const { code, stderr } = await job.ended
    expect(code).toBe(74)
    const facts = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(facts.map(({ event }) => event)).toEqual(['granted', 'lost', 'ended'])
    expect(facts[0]).toMatchObject({ key: 'lost', slot: 1, slots: [1] })
    expect(facts[2]).toMatchObject({ code: 0, lost: true })
  })

  test('one that ignores SIGTERM is killed after the grace', async () => {
    const job = start([...options, '--grace', '0.3'], ...trapping('trap "echo told" TERM'))
    await shows(job, 'ready')
    await takeAway()
    expect(await job.ended).toMatchObject({ code: 137, stdout: 'ready\ntold\n' })
  })

  test('it is told also where nobody reads standard error any more', async () => {
    const job = start(['--key', 'deaf', '--limit', '1', '--hold', '0.5'], ...trapping('trap "exit 3" TERM'))
    job.child.stderr.destroy()
    expect(await job.ended).toMatchObject({ code: 3, stdout: 'ready\n' })
  })

  test('--hold bounds how long it may take', async () => {
    expect(await run(['--key', 'long', '--limit', '1', '--hold', '0.3'], 'sleep', '30')).toMatchObject({ code: 143 })
    await until(async () => (await holders('long')).length === 0, 'nobody holds')
  })

  test('a Redis that vanishes is noticed by the end of the lease', async () => {
    const own = await startRedis()
    const args = ['run', '--redis', own.url, '--key', 'k', '--limit', '1', '--expire', '0.6', '--']
    const job = startCli([...args, ...trapping('trap "exit 3" TERM')])
    await shows(job, 'ready')
    await own.stop()
    expect(await job.ended).toMatchObject({ code: 3 })
  })
})
