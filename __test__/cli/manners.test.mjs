// The command line's manners: help, usage errors, exit codes, colours, and what it costs the package: nothing.
import { readdirSync, readFileSync } from 'node:fs'
import { Limiter } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { CLI, cli } from '../support/cli.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { runNode } from '../support/helpers.mjs'

const server = useRedis()
const root = new URL('../../', import.meta.url)
const read = (path) => readFileSync(new URL(path, root), 'utf8')
const commands = readdirSync(new URL('cli/commands', root)).map((file) => file.replace('.js', ''))
const ESCAPE = '\u001b'

describe('help', () => {
  test('names every command, and goes to standard output', async () => {
    const { code, stdout, stderr } = await cli(['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const name of commands) expect(stdout).toMatch(new RegExp(`^  ${name} +\\S`, 'm'))
  })

  test.each(commands)('of %s has examples, options and exit codes, and docs/cli.md says all of them', async (name) => {
    const { code, stdout } = await cli([name, '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^usage: concurrency-limit ${name}\\b`))
    expect(stdout).toMatch(new RegExp(`\nexamples:\n[^]*\n  [^\n]*concurrency-limit ${name}`))
    const docs = read('docs/cli.md')
    const [, section] = docs.split(`## ${name}\n`)
    const own = /\noptions:\n((?: {2}.*\n)*)/.exec(stdout)?.[1] ?? ''
    for (const [, flag] of own.matchAll(/^ +(?:-\w, )?(--[\w-]+)/gm)) {
      expect(section.split('\n## ')[0]).toContain(`\`${flag}`)
    }
    const shared = /\noptions of every command:\n((?: {2}.*\n)*)/.exec(stdout)[1]
    for (const [, flag] of shared.matchAll(/(--[\w-]+)/g)) expect(docs).toContain(`\`${flag}`)
  })

  test('the exit codes are those of docs/cli.md', () => {
    const documented = [...read('docs/cli.md').matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code))
    const known = [...read('cli/exits.js').matchAll(/\[(\d+), /g)].map(([, code]) => Number(code))
    expect(documented).toEqual(known)
  })
})

describe('a wrong command line', () => {
  const wrong = [
    [['nonsense'], 'there is no command "nonsense"'],
    [['status', '--nonsense'], "Unknown option '--nonsense'"],
    [['status', '--redis'], 'argument missing'],
    [['status', '--redis', 'redis://h', '--redis', 'redis://h'], '--redis is given twice'],
    [['status', '--redis', 'http://h'], '--redis or REDIS_URL: '],
    [['status', '--redis', 'memory:'], 'memory:'],
    [['status'], '--redis URL, or the environment variable REDIS_URL'],
    [['status', '--redis', 'redis://h', '--most', '0'], '--most: expected an integer from 1 to 100000, but got 0'],
    [['status', '--redis', 'redis://h', '--prefix', '{}'], '--prefix: expected'],
    [['status', '--redis', 'redis://h', '--tls-ca', 'no-such-file'], '--tls-ca: ENOENT'],
    [['keys', '--redis', 'redis://h', 'a', 'b'], 'unexpected "b"'],
    [['release', '--redis', 'redis://h', '--lease', 'x'], 'the key is missing'],
    [['release', '--redis', 'redis://h', 'k'], 'either --lease or --holder'],
    [['release', '--redis', 'redis://h', 'k', '--lease', 'x'], '--lease: expected a lease id'],
    [['clean', '--redis', 'redis://h'], 'either keys or --all'],
  ]
  test.each(wrong)('%j ends with 64 and says what is wrong', async (args, words) => {
    const { code, stdout, stderr } = await cli(args)
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toContain(words)
    expect(stderr).not.toMatch(/^ +at /m) // no stack
  })

  test('without any command the overview goes to standard error', async () => {
    const { code, stdout, stderr } = await cli([])
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toContain('usage: concurrency-limit COMMAND')
  })
})

test('a Redis that is not reachable is 69, and no error shows a password', async () => {
  const env = { REDIS_URL: 'redis://user:geheim@127.0.0.1:1' }
  const { code, stderr } = await cli(['status'], { env })
  expect(code).toBe(69)
  expect(stderr).toContain('is not reachable')
  const { stderr: json } = await cli(['status', '--json'], { env })
  expect(JSON.parse(json)).toMatchObject({ exit: 69, error: { code: 'ERR_UNAVAILABLE', answered: false } })
  expect(stderr + json).not.toContain('geheim')
})

test('options may stand before the command, and --version tells the version of the package', async () => {
  expect((await cli(['--redis', server.url, 'keys'])).code).toBe(0)
  expect((await cli(['--version'])).stdout).toBe(`${JSON.parse(read('package.json')).version}\n`)
})

describe('colours', () => {
  test.each([
    ['none where nobody looks', {}, false],
    ['with FORCE_COLOR', { FORCE_COLOR: '1' }, true],
    ['FORCE_COLOR beats NO_COLOR', { FORCE_COLOR: '1', NO_COLOR: '1' }, true],
    ['none with FORCE_COLOR=0', { FORCE_COLOR: '0' }, false],
  ])('%s', async (_, env, isColoured) => {
    const limiter = new Limiter(server.url)
    await limiter.withLimit({ key: 'coloured', limit: 2 }, async () => {
      const { stdout } = await cli(['status', 'coloured'], { env: { REDIS_URL: server.url, ...env } })
      expect(stdout.includes(ESCAPE)).toBe(isColoured)
    })
    await limiter.close()
  })
})

test('whoever has read enough ends it quietly', async () => {
  const source = `
    const { spawn } = require('node:child_process')
    const child = spawn(process.execPath, [${JSON.stringify(CLI)}, 'status', '--help'], { stdio: ['ignore', 'pipe', 'inherit'] })
    child.stdout.destroy()
    child.on('exit', (code, signal) => console.log(code, signal))`
  expect((await runNode(['--input-type=commonjs', '-'], { source })).output).toBe('0 null\n')
})

test('the package loads nothing of it, and it has no dependencies', async () => {
  const source = `
    require('concurrency-limit')
    console.log(Object.keys(require.cache).filter((file) => file.startsWith(${JSON.stringify(CLI.slice(0, -8))})).length)`
  expect((await runNode(['--input-type=commonjs', '-'], { source })).output).toBe('0\n')
  expect(JSON.parse(read('package.json')).dependencies).toBeUndefined()
})
