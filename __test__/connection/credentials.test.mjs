// Passwords and user names that run out: asked for at every connect, and refused ones are tried again once a connection
// has stood. What any of them was is shown nowhere.
import { ConfigError, Limiter, UnavailableError } from 'concurrency-limit'
import { afterEach, describe, expect, test } from 'vitest'
import { redis, rejection, startRedis, until } from '../support/helpers.mjs'
import { startCluster } from '../support/members.mjs'
import { startSentinel } from '../support/replicas.mjs'

const ends = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** A server that wants a password, and commands to it by a user who needs none. */
async function serve(password) {
  const server = await startRedis({ age: 0 })
  ends.push(server.stop)
  await redis(server.port, 'ACL', 'SETUSER', 'default', 'on', 'resetpass', `>${password}`)
  return server
}

/** Raw commands as the default user with this password. */
async function as(password, port, ...args) {
  const { connect } = await import('node:net')
  const socket = connect(port, '127.0.0.1')
  const line = (words) =>
    `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`).join('')}`
  socket.end(line(['AUTH', password]) + line(args) + line(['QUIT']))
  let text = ''
  for await (const chunk of socket.setEncoding('utf8')) text += chunk
  return text
}

function limiterOf(url, options) {
  const limiter =
    typeof url === 'string' ? new Limiter(url, { settle: 0, ...options }) : new Limiter({ settle: 0, ...url })
  const seen = []
  for (const event of ['disconnect', 'reconnect', 'warning']) {
    limiter.on(event, ({ message }) => seen.push(`${event}: ${message}`))
  }
  ends.push(() => limiter.close({ release: false }))
  return { limiter, seen, has: (words) => seen.some((line) => words.test(line)) }
}

const TIMES = { connectTimeout: 1, commandTimeout: 1 }
const config = { key: 'k', limit: 1, limitExpire: 30, limitTimeout: 20 }

test('a function gives the password, at every connect anew, whether at once or later', async () => {
  const { port, url } = await serve('first')
  const given = []
  for (const password of [
    () => given.push('sync') && 'first',
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      return given.push('async') && 'first'
    },
  ]) {
    const { limiter, has } = limiterOf(url, { password })
    await limiter.withLimit(config, () => {})
    await as('first', port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => has(/disconnect/), 'it notices')
    await limiter.withLimit(config, () => {})
    await limiter.close()
  }
  // Once for each connection, however many attempts and protocols that takes.
  expect(given).toEqual(['sync', 'sync', 'async', 'async'])
})

test('a function may give the user name, too', async () => {
  const { port, url } = await serve('first')
  await as('first', port, 'ACL', 'SETUSER', 'app', 'on', '>token', '~*', '&*', '+@all')
  const { limiter } = limiterOf(url, { username: async () => 'app', password: () => 'token', clientName: 'who' })
  await limiter.withLimit(config, () => {})
  expect(await as('first', port, 'CLIENT', 'LIST')).toMatch(/ name=who .* user=app /)
})

test('limiters with the same function share a connection, those with others do not', async () => {
  const { url } = await serve('first')
  const password = () => 'first'
  const [one, same, other] = [{ password }, { password }, { password: () => 'first' }].map((o) => limiterOf(url, o))
  const leases = await Promise.all([one, same, other].map(({ limiter }) => limiter.acquire({ ...config, limit: 3 })))
  const sessions = leases.map(({ leaseId }) => leaseId.split('-')[0])
  expect(sessions[0]).toBe(sessions[1])
  expect(sessions[0]).not.toBe(sessions[2])
})

describe('a password that is changed while processes wait and hold', () => {
  const rotations = [
    ['CONFIG SET requirepass', async (port, from, to) => as(from, port, 'CONFIG', 'SET', 'requirepass', to)],
    ['ACL SETUSER', async (port, from, to) => as(from, port, 'ACL', 'SETUSER', 'default', 'resetpass', `>${to}`)],
  ]
  test.each(rotations)('%s: all come back with the new one, and keep slot and place', async (_, rotate) => {
    const { port, url } = await serve('first')
    let current = 'first'
    const [holder, waiter, late] = [1, 2, 3].map((n) =>
      limiterOf(url, { ...TIMES, clientName: `c${n}`, password: () => current }),
    )
    const lease = await holder.limiter.acquire(config)
    const order = []
    const wait = ({ limiter }, name) => limiter.withLimit(config, () => order.push(name))
    const first = wait(waiter, 'first')
    await until(async () => (await holder.limiter.status('k')).waiting === 1, 'one waits')
    const second = wait(late, 'second')
    await until(async () => (await holder.limiter.status('k')).waiting === 2, 'two wait')
    await rotate(port, 'first', 'second')
    await as('second', port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
    // The old one is refused for a while, and nobody loses anything.
    for (const one of [holder, waiter, late]) await until(() => one.has(/warning: .*WRONGPASS/), 'the refusal is told')
    expect([lease.lost, order]).toEqual([false, []])
    current = 'second'
    for (const one of [holder, waiter, late]) await until(() => one.has(/reconnect/), 'it is back')
    expect(await lease.release()).toBe(true)
    await Promise.all([first, second])
    expect(order).toEqual(['first', 'second'])
    // Told once while it lasts.
    expect(holder.seen.filter((line) => line.startsWith('warning'))).toHaveLength(1)
    expect([holder, waiter, late].flatMap(({ seen }) => seen).join()).not.toMatch(/first|second/)
  })

  test('a password that is no function is tried again, too, once a connection has stood', async () => {
    const { port, url } = await serve('first')
    const { limiter, has } = limiterOf(url, { ...TIMES, password: 'first' })
    const lease = await limiter.acquire(config)
    await as('first', port, 'CONFIG', 'SET', 'requirepass', 'second')
    await as('second', port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => has(/warning: .*WRONGPASS/), 'the refusal is told')
    await as('second', port, 'CONFIG', 'SET', 'requirepass', 'first')
    await until(() => has(/reconnect/), 'it is back')
    expect(await lease.release()).toBe(true)
  })

  test('a server that wants a password only now (NOAUTH) is asked again until it wants none', async () => {
    const server = await startRedis({ age: 0 })
    ends.push(server.stop)
    const { limiter, has } = limiterOf(server.url, TIMES)
    const lease = await limiter.acquire(config)
    await redis(server.port, 'CONFIG', 'SET', 'requirepass', 'sesame')
    await as('sesame', server.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => has(/warning: .*NOAUTH/), 'the refusal is told')
    await as('sesame', server.port, 'CONFIG', 'SET', 'requirepass', '')
    await until(() => has(/reconnect/), 'it is back')
    expect(await lease.release()).toBe(true)
  })

  test('before any connection stood a refused password fails at once', async () => {
    const { url } = await serve('first')
    const { limiter } = limiterOf(url, { password: () => 'hunter2' })
    const at = performance.now()
    const error = await rejection(limiter.acquire(config))
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.message).toMatch(/refused: WRONGPASS/)
    expect(performance.now() - at).toBeLessThan(5_000)
    expect(`${error.stack}${error.cause.stack}`).not.toContain('hunter2')
  })
})

describe('a function that gives nothing to log in with', () => {
  test.each([
    [
      'throws',
      () => {
        throw new Error('no token today')
      },
      /password couldn't be asked for: no token today/,
    ],
    [
      'rejects',
      async () => {
        throw new Error('no token today')
      },
      /password couldn't be asked for: no token today/,
    ],
    ['rejects with a secret', () => Promise.reject('hunter2'), /failed with something that is no Error/],
    ['gives a number', () => 1234567, /its function gave a number that is not shown instead of a well-formed string/],
    ['gives nothing', () => undefined, /its function gave undefined instead of a well-formed string/],
    ['gives an empty string', async () => '', /its function gave an empty string instead of/],
    ['gives an object', () => ({ password: 'hunter2' }), /its function gave an object that is not shown instead of/],
  ])('%s: it is told, and tried again', async (_, broken, words) => {
    const { url } = await serve('first')
    let isWell = false
    const { limiter, seen, has } = limiterOf(url, { ...TIMES, password: () => (isWell ? 'first' : broken()) })
    const now = await rejection(limiter.tryAcquire(config))
    expect(now).toBeInstanceOf(UnavailableError)
    expect(now.message).toMatch(words)
    expect(now.cause.message).toMatch(words)
    expect(now.answered).toBe(false)
    const patient = limiter.acquire(config)
    await until(() => has(words), 'a warning')
    isWell = true
    expect((await patient).slot).toBe(1)
    expect(`${now.stack}${seen}`).not.toMatch(/hunter2|1234567/)
  })

  test('never settles: that is bounded, told, and asked again', async () => {
    const { url } = await serve('first')
    const answers = []
    const password = () => new Promise((resolve) => answers.push(resolve))
    const { limiter } = limiterOf(url, { connectTimeout: 0.3, password })
    const now = await rejection(limiter.tryAcquire(config))
    expect(now.message).toMatch(/the user name or password that is asked for didn't come within 300ms/)
    const patient = limiter.acquire(config)
    await until(() => answers.length > 2, 'it is asked again')
    // Too late for who asked.
    answers[0]('hunter2')
    const answering = setInterval(() => answers.at(-1)('first'), 5)
    expect((await patient).slot).toBe(1)
    clearInterval(answering)
  })
})

test('sentinels are asked with a password that a function gives', async () => {
  const primary = await serve('first')
  const users = ['user default off', 'user watcher on >sesame ~* &* +@all', 'sentinel auth-pass m first']
  const sentinel = await startSentinel('m', primary.port, 1, users)
  ends.push(sentinel.stop)
  const place = { name: 'm', nodes: [`127.0.0.1:${sentinel.port}`] }
  const right = { ...place, username: () => 'watcher', password: async () => 'sesame' }
  await limiterOf({ sentinel: right, password: () => 'first' }).limiter.withLimit(config, () => {})
  const broken = { ...place, username: 'watcher', password: () => null }
  const error = await rejection(limiterOf({ sentinel: broken, password: 'first' }).limiter.tryAcquire(config))
  expect(error.message).toMatch(/sentinel.password couldn't be asked for: its function gave null/)
})

test('every member of a cluster is connected to with a password that a function gives', async () => {
  const cluster = await startCluster()
  ends.push(cluster.stop)
  for (const { port } of cluster.members) {
    await redis(port, 'ACL', 'SETUSER', 'app', 'on', '>token', '~*', '&*', '+@all')
  }
  const { limiter } = limiterOf(cluster.url, { username: 'app', password: async () => 'token' })
  await Promise.all(Array.from({ length: 30 }, (_, n) => limiter.withLimit({ ...config, key: `k${n}` }, () => {})))
}, 60_000)

test('what is no text and no function is a ConfigError that shows nothing of it', () => {
  for (const options of [
    { password: 1234567 },
    { password: ['hunter2'] },
    { username: {} },
    { password: Promise.resolve('hunter2') },
  ]) {
    let error
    try {
      new Limiter('redis://h', options)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(ConfigError)
    expect(error.message).toMatch(/or a function that gives one/)
    expect(error.message).not.toMatch(/hunter2|1234567/)
  }
})
