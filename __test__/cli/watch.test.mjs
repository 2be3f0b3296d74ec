// watch: the screen on a terminal of its own, what the keys do, and that the terminal is as before however it ends.
import { stripVTControlCharacters } from 'node:util'
import { Limiter } from 'concurrency-limit'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { cli, startCli } from '../support/cli.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { startProcess, until } from '../support/helpers.mjs'
import { onTerminal } from '../support/terminal.mjs'

const ENTERED = '\u001b[?1049h\u001b[?25l'
const RESTORED = '\u001b[?25h\u001b[?1049l'
const DOWN = '\u001b[B'

const server = useRedis()
let env
let limiter
let other
beforeAll(async () => {
  env = { REDIS_URL: server.url }
  limiter = new Limiter(server.url)
  other = startProcess({ url: server.url })
  await other.call('acquire', { key: 'alpha', limit: 4, label: 'first job' })
  await other.call('acquire', { key: 'beta', limit: 2 })
  await other.call('acquire', { key: 'beta', limit: 2 })
  await other.call('wait', { key: 'beta', limit: 2, limitTimeout: 600 }, 2)
})
afterAll(async () => {
  await limiter?.close()
  other?.kill('SIGKILL')
  await other?.ended
})

let watched
async function watch(...args) {
  watched = await onTerminal(['watch', ...args], { env })
  await shows(/alpha/)
  return watched
}
afterEach(async () => {
  if (watched === undefined) return
  watched.type('\u0003\u0003')
  await watched.ended
  watched = undefined
})

/** The screen as it is now: what was drawn last. */
const screen = () => stripVTControlCharacters(watched.text().split('\u001b[H').at(-1)).split('\r\n')
async function shows(pattern) {
  const seen = until(() => pattern.test(screen().join('\n')), `the screen shows ${pattern}`)
  await seen.catch((error) => {
    throw new Error(`${error.message}, but:\n${screen().join('\n')}`)
  })
}

describe('on a terminal', () => {
  test('it shows the groups and follows what changes', async () => {
    await watch()
    await shows(/^concurrency-limit {2}2 groups {2}3 held {2}2 waiting {2}sorted by key/)
    await shows(/^› alpha +█{5}░{15} +1\/4 +0 +-$/m)
    await shows(/^ {2}beta +█{20} +2\/2 +2 +[\d.]+ m?s/m)
    await limiter.withLimit({ key: 'alpha', limit: 4 }, () => shows(/alpha +█{10}░{10} +2\/4/))
    await shows(/alpha +█{5}░{15} +1\/4/)
  })

  test('/ filters, s sorts, Enter opens, and x frees a slot after a question', async () => {
    await watch()
    watched.type('s')
    await shows(/sorted by use[\s\S]*beta[\s\S]*alpha/)
    watched.type('/alp\r')
    await shows(/filter: alp \(1\)/)
    expect(screen().join('\n')).not.toContain('beta')
    watched.type('\r')
    await shows(/alpha[\s\S]*1\/4 held[\s\S]*› +1 +.*first job/)
    watched.type('x')
    await shows(/Free slot 1, first job, worker\.mjs \S+, held for .*\? Its work may still run\. y\/N/)
    watched.type('n')
    await shows(/x free its slot/)
    expect((await limiter.status('alpha')).held).toBe(1)
    watched.type('x')
    await shows(/Free slot 1/)
    watched.type('y')
    await shows(/released [0-9a-f]{16}-\d+/)
    expect((await limiter.status('alpha')).held).toBe(0)
    await other.call('acquire', { key: 'alpha', limit: 4, label: 'first job' })
    watched.type('\u001b')
    await shows(/s sort/)
  })

  test('the cursor moves, and a small window is never left', async () => {
    await watch()
    watched.type(DOWN)
    await shows(/^› beta/m)
    watched.type('\r')
    await shows(/beta[\s\S]*2\/2 held, 2 waiting[\s\S]*› +1 [\s\S]*WAITS FOR/)
    watched.resize(30, 6)
    await until(() => screen().length === 6, 'it has six lines')
    expect(Math.max(...screen().map((line) => line.length))).toBeLessThanOrEqual(30)
  })

  test.each([
    ['q', () => watched.type('q'), 0],
    ['Ctrl-C', () => watched.type('\u0003'), 130],
    ['SIGINT', () => process.kill(watched.pid, 'SIGINT'), 130],
    ['SIGTERM', () => process.kill(watched.pid, 'SIGTERM'), 143],
    ['SIGHUP', () => process.kill(watched.pid, 'SIGHUP'), 129],
  ])('%s ends it and gives the terminal back', async (_, end, code) => {
    await watch()
    end()
    expect(await watched.ended).toBe(code)
    expect(watched.text()).toContain(ENTERED)
    expect(watched.text().endsWith(RESTORED)).toBe(true)
  })

  test('an uncaught error gives the terminal back before it is printed', async () => {
    const fault = "data:text/javascript,process.on('SIGUSR2',()=>{throw(Error('our_fault'))})"
    watched = await onTerminal(['watch'], { env: { ...env, NODE_OPTIONS: `--import ${fault}` } })
    await shows(/alpha/)
    process.kill(watched.pid, 'SIGUSR2')
    expect(await watched.ended).toBe(1)
    expect(watched.text().indexOf(RESTORED)).toBeGreaterThan(0)
    expect(watched.text().indexOf(RESTORED)).toBeLessThan(watched.text().indexOf('our_fault'))
  })

  test('Ctrl-Z gives the terminal back, and it goes on where it was', async () => {
    await watch()
    watched.type('\u001a')
    await until(() => watched.text().endsWith(RESTORED), 'the terminal is given back')
    await until(() => {
      process.kill(watched.pid, 'SIGCONT') // again, if it comes before it has stopped
      return watched.text().split(ENTERED).length === 3
    }, 'it takes the terminal again')
    await shows(/alpha/)
  })
})

describe('without a terminal', () => {
  test('it writes a line for what changes', async () => {
    const { child, output, ended } = startCli(['watch', '--interval', '0.2'], { env })
    await until(() => /^\S+Z beta: 2\/2 held, 2 waiting, the longest for .+$/m.test(output.stdout), 'it tells what is')
    expect(output.stdout).toMatch(/^\S+Z alpha: 1\/4 held, 0 waiting$/m)
    await limiter.withLimit({ key: 'alpha', limit: 4 }, () =>
      until(() => output.stdout.includes('alpha: 2/4 held'), 'it tells of the second'),
    )
    child.kill('SIGTERM')
    expect(await ended).toMatchObject({ code: 143, stderr: '' })
    expect(output.stdout.match(/beta/g)).toHaveLength(1)
  })

  test('as JSON, a line each, and ends after the rounds that are asked for', async () => {
    const { code, stdout } = await cli(['watch', 'alpha', '--json', '--rounds', '1'], { env })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ key: 'alpha', limit: 4, held: 1, waiting: 0, oldestWait: null })
  })
})
