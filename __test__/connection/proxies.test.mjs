// Proxies and servers that are nearly Redis: whatever of a greeting they refuse, the limiter works, or says at once in
// one sentence why it can't.
import { Limiter, UnavailableError } from 'concurrency-limit'
import { afterEach, describe, expect, test } from 'vitest'
import { startCensor } from '../support/censor.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { rejection, until } from '../support/helpers.mjs'

const server = useRedis()
const ends = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function censor(judge) {
  const proxy = await startCensor(server.port, judge)
  ends.push(proxy.close)
  return proxy
}

function limiterOf(...args) {
  const limiter = new Limiter(...args)
  ends.push(() => limiter.close())
  return limiter
}

/** Somebody waits for somebody else; gives whether that was by push. */
async function handsOver(url, options = {}) {
  // With other options they have a connection each.
  const [one, other] = [1, 2].map((connectTimeout) => limiterOf(url, { ...options, connectTimeout }))
  const terms = { key: 'proxied', limit: 1, limitInterval: 0.05, limitTimeout: 10 }
  const lease = await one.acquire(terms)
  const next = other.acquire(terms)
  await until(async () => (await one.status('proxied')).waiting === 1, 'one waits')
  expect(await lease.release()).toBe(true)
  await (await next).release()
  return (await other.stats()).handedOff > 0
}

const refuse = (refused, answer) => (name, words) => (refused(name, words) ? answer : undefined)
const is =
  (...names) =>
  (name) =>
    names.includes(name)

describe('HELLO is refused', () => {
  test.each([
    ['as unknown', '-ERR unknown command `HELLO`, with args beginning with: `3` \r\n'],
    ['as unknown, spelt otherwise', "-ERR unknown command 'hello'\r\n"],
    ['by protocol', '-NOPROTO unsupported protocol version\r\n'],
    ['by number of arguments', "-ERR wrong number of arguments for 'hello' command\r\n"],
    ['by rights', "-NOPERM this user has no permissions to run the 'hello' command\r\n"],
    ['as not supported', '-ERR Unsupported command\r\n'],
    ['by a syntax error', '-ERR syntax error in HELLO\r\n'],
    ['by an error without a code', '-forbidden by the proxy\r\n'],
    ['by hanging up', 'hang up'],
  ])('%s: RESP2 it is, with pushes on a second connection', async (_, answer) => {
    const proxy = await censor(refuse(is('HELLO'), answer))
    expect(await handsOver(proxy.url)).toBe(true)
    expect(proxy.seen).toContain('SUBSCRIBE')
  })

  test('but a wrong password is not tried twice', async () => {
    const proxy = await censor(
      refuse(is('HELLO'), '-WRONGPASS invalid username-password pair or user is disabled.\r\n'),
    )
    const error = await rejection(limiterOf(proxy.url, { password: 'hunter2' }).tryAcquire({ key: 'k', limit: 1 }))
    expect(error.message).toContain('refused: WRONGPASS')
    expect(proxy.seen.filter((name) => name === 'AUTH' || name === 'HELLO')).toEqual(['HELLO'])
  })

  test('a password that is refused to AUTH is told in the words of the proxy, without the password', async () => {
    const proxy = await censor((name) => {
      if (name === 'HELLO') return '-ERR unknown command\r\n'
      return name === 'AUTH' ? "-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n" : undefined
    })
    const error = await rejection(limiterOf(proxy.url, { password: 'hunter2' }).tryAcquire({ key: 'k', limit: 1 }))
    expect(error.message).toContain("refused: ERR unknown command 'AUTH'")
    expect(`${error.stack}${error.cause.stack}`).not.toContain('hunter2')
  })
})

describe('beside HELLO', () => {
  const UNKNOWN = '-ERR unknown command\r\n'
  test.each([
    ['CLIENT', is('CLIENT'), { clientName: 'proxied' }],
    ['INFO', is('INFO'), {}],
    ['EVAL', is('EVAL'), {}],
    ['CLIENT, INFO and EVAL', is('CLIENT', 'INFO', 'EVAL'), { clientName: 'proxied' }],
  ])('%s is refused: everything works without', async (_, refused, options) => {
    for (const withHello of [true, false]) {
      const proxy = await censor(refuse((name) => refused(name) || (!withHello && name === 'HELLO'), UNKNOWN))
      expect(await handsOver(proxy.url, options)).toBe(true)
    }
  })

  test.each([
    ['CLIENT', is('CLIENT'), { clientName: 'proxied' }],
    ['INFO', is('INFO'), {}],
    ['EVAL', is('EVAL'), {}],
  ])('the proxy hangs up on %s: everything works without', async (_, refused, options) => {
    const proxy = await censor(refuse(refused, 'hang up'))
    expect(await handsOver(proxy.url, options)).toBe(true)
  })

  test('SUBSCRIBE is refused: waiting is by looking, and that is told', async () => {
    const proxy = await censor(refuse(is('SUBSCRIBE', 'HELLO'), UNKNOWN))
    const told = []
    const limiter = limiterOf(proxy.url, { clientName: 'deaf' })
    limiter.on('pushUnavailable', () => told.push(1))
    await limiter.withLimit({ key: 'k', limit: 1 }, () => {})
    expect(told).toHaveLength(1)
    expect(await handsOver(proxy.url)).toBe(false)
  })
})

describe('INFO says something else', () => {
  const text = (lines) => `$${lines.length}\r\n${lines}\r\n`
  test.each([
    ['nothing', text('')],
    ['a version that is no number', text('redis_version:unstable-2026\r\n')],
    ['a name', text('redis_version:\r\nserver_name:proxy\r\n')],
    ['a lower version than it has', text('redis_version:4.0.0\r\nkvrocks_version:2.11.1\r\n')],
    ['a number', ':7\r\n'],
    ['a map', '*2\r\n$1\r\na\r\n$1\r\nb\r\n'],
  ])('%s: what the server can do counts', async (_, answer) => {
    const proxy = await censor(refuse(is('INFO'), answer))
    expect(await handsOver(proxy.url)).toBe(true)
  })

  test('an old version whose scripts can not do it is refused at once, in a sentence', async () => {
    const proxy = await censor((name, words) => {
      if (name === 'INFO') return text('redis_version:4.0.14\r\n')
      if (name === 'EVAL' && /UNLINK/.test(words[1])) {
        return '-ERR Error running script: Write commands not allowed after non deterministic commands\r\n'
      }
      return undefined
    })
    const at = performance.now()
    const error = await rejection(limiterOf(proxy.url).acquire({ key: 'k', limit: 1, limitTimeout: 20 }))
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.message).toMatch(/Redis 4\.0\.14 is too old: .*Write commands not allowed/)
    expect(performance.now() - at).toBeLessThan(5_000)
  })
})
