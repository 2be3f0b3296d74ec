// Clients that users bring: the same limiter over somebody else's connection, which it neither closes nor depends on
// for more than it must.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { ConfigError, Limiter, UnavailableError } from 'concurrency-limit'
import { Redis } from 'ioredis'
import { createClient, createClientPool, createCluster } from 'redis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bring, KINDS } from '../support/clients.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { forgetLibrary, redis, rejection, runNode, scriptCalls, startRedis, until } from '../support/helpers.mjs'
import { judge, startCrowd } from '../support/load.mjs'
import { freePort } from '../support/programs.mjs'

const LIMIT = 5

const server = useRedis()

const connections = async (port, what) => {
  const list = await redis(port, 'CLIENT', 'LIST')
  return list.split('\n').filter((line) => what.test(line)).length
}
const subscribers = (port) => connections(port, / sub=[1-9]/)

describe.each(KINDS)('%s', (kind) => {
  let brought
  let limiter
  beforeEach(async () => {
    brought = await bring(kind, server)
    limiter = new Limiter({ client: brought.client })
  })
  afterEach(async () => {
    await limiter.close()
    brought.end()
  })

  const waiting = (key, count) => until(async () => (await limiter.status(key)).waiting === count, `${count} wait`)

  test('leases are acquired, shown, tried for and given back', async () => {
    const lease = await limiter.acquire({ key: 'plain', limit: 2, label: 'a' })
    const heavy = await limiter.acquire({ key: 'plain', limit: 2, limitTimeout: 0 })
    expect([lease.slot, heavy.slot]).toEqual([1, 2])
    expect(await limiter.tryAcquire({ key: 'plain', limit: 2 })).toBe(null)
    const { held, holders } = await limiter.status('plain')
    expect([held, holders[0].label, holders[0].leaseId]).toEqual([2, 'a', lease.leaseId])
    expect(await lease.release()).toBe(true)
    expect(await limiter.release({ key: 'plain', leaseId: heavy.leaseId })).toBe(true)
    expect(await heavy.release()).toBe(false)
    expect(await limiter.clean('plain')).toBe(0)
    expect((await limiter.status('plain')).held).toBe(0)
  })

  test('keys, labels and names of any letters come back as they were', async () => {
    const key = '}%{ é😀\0\r\n"'
    const [label, holder] = ['l\0é\r\n😀', 'h\r\n\0"ü']
    const lease = await limiter.acquire({ key, limit: 1, label, holder })
    const { holders } = await limiter.status(key)
    expect(holders).toMatchObject([{ label, holder, leaseId: lease.leaseId }])
    expect(await collect(limiter.keys('*😀*'))).toEqual([key])
    expect(await limiter.release({ key, holder })).toBe(true)
  })

  test('all keys are listed, over several pages', async () => {
    const names = Array.from({ length: 1200 }, (_, i) => `page ${i}`)
    await Promise.all(names.map((key) => limiter.withLimit({ key, limit: 1 }, () => {})))
    expect(new Set(await collect(limiter.keys('page *')))).toEqual(new Set(names))
  })

  test('a renewed lease outlives its length', async () => {
    const lease = await limiter.acquire({ key: 'renewed', limit: 1, limitExpire: 2 })
    const before = await scriptCalls(server.port)
    await until(async () => (await scriptCalls(server.port)) >= before + 4, 'four renewals, one each third of it')
    expect([lease.lost, await lease.release()]).toEqual([false, true])
  })

  test('waiters are served in order, and by push: nobody polls', async () => {
    const terms = { key: 'order', limit: 1, limitInterval: 0.01 }
    const first = await limiter.acquire(terms)
    const served = []
    const passes = []
    for (let i = 0; i < 20; i++) {
      passes.push(limiter.withLimit(terms, () => served.push(i)))
      await waiting('order', i + 1)
    }
    expect(await subscribers(server.port)).toBe(1)
    const before = await scriptCalls(server.port)
    await redis(server.port, 'BLPOP', 'nobody pushes here', 2)
    // Looks every limitInterval would be two hundred.
    expect((await scriptCalls(server.port)) - before).toBeLessThan(10)
    await first.release()
    await Promise.all(passes)
    expect(served).toEqual(served.map((_, i) => i))
  })

  test('a slot that another process frees is handed over by push', async () => {
    const other = new Limiter(server.url)
    const terms = { key: 'push', limit: 1, limitInterval: 30 }
    const times = []
    for (let i = 0; i < 5; i++) {
      const held = await other.acquire(terms)
      const next = limiter.acquire(terms)
      await waiting('push', 1)
      const at = performance.now()
      await held.release()
      const lease = await next
      times.push(performance.now() - at)
      await lease.release()
    }
    await other.close()
    // The safety look comes about once a second: it can't make the median this small.
    expect(times.sort((a, b) => a - b)[2]).toBeLessThan(300)
    expect((await limiter.stats()).handedOff).toBeGreaterThan(2)
  })

  test('time-outs and aborts leave the line', async () => {
    const lease = await limiter.acquire({ key: 'leave', limit: 1 })
    const late = await rejection(limiter.acquire({ key: 'leave', limit: 1, limitTimeout: 0.05 }))
    expect(late.code).toBe('ERR_LIMIT_EXCEEDED')
    const controller = new AbortController()
    const aborted = rejection(limiter.acquire({ key: 'leave', limit: 1, signal: controller.signal }))
    await waiting('leave', 1)
    controller.abort(new Error('enough'))
    expect((await aborted).message).toBe('enough')
    await waiting('leave', 0)
    await lease.release()
  })

  test('close gives everything back, ends the subscription and leaves the client to its owner', async () => {
    const witness = new Limiter(server.url)
    await limiter.acquire({ key: 'closed', limit: 1 })
    expect(await subscribers(server.port)).toBeGreaterThan(0)
    await limiter.close()
    expect((await witness.status('closed')).held).toBe(0)
    await witness.close()
    await until(async () => (await subscribers(server.port)) === 0, 'no subscription is left')
    expect(await brought.ask('PING')).toBe('PONG')
  })

  test('two limiters over one client share its session and its subscription', async () => {
    const twin = new Limiter({ client: brought.client })
    const [one, two] = await Promise.all([limiter, twin].map((each) => each.acquire({ key: 'twins', limit: 2 })))
    expect(one.leaseId.split('-')[0]).toBe(two.leaseId.split('-')[0])
    expect(await subscribers(server.port)).toBe(1)
    await twin.close()
    expect([one.lost, two.lost]).toEqual([false, true])
    const again = new Limiter({ client: brought.client })
    await again.close()
    expect(await one.release()).toBe(true)
  })

  test('a library that the server has forgotten is loaded again', async () => {
    await limiter.withLimit({ key: 'forgotten', limit: 1 }, () => {})
    await forgetLibrary(server.port)
    await limiter.withLimit({ key: 'forgotten', limit: 1 }, () => {})
  })

  test('when the subscription dies alone, it is made anew and waiters keep their place', async () => {
    const reconnects = []
    limiter.on('reconnect', () => reconnects.push(1))
    const lease = await limiter.acquire({ key: 'deaf', limit: 1 })
    const next = limiter.acquire({ key: 'deaf', limit: 1, limitInterval: 30 })
    await waiting('deaf', 1)
    await redis(server.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => reconnects.length > 0, 'a new link')
    expect(await subscribers(server.port)).toBe(1)
    expect(lease.lost).toBe(false)
    await lease.release()
    await (await next).release()
  })
})

async function collect(iterator) {
  const all = []
  for await (const item of iterator) all.push(item)
  return all
}

describe.each(KINDS)('%s in bad times', (kind) => {
  test('the limit holds over processes with this client and with none', async () => {
    const config = { key: `mixed ${kind}`, limit: LIMIT, limitExpire: 5, limitTimeout: 20 }
    const crowd = startCrowd({ options: { port: server.port }, config, tasks: 10, work: [1, 10] })
    try {
      const withClient = { options: { client: kind, port: server.port } }
      const processes = [crowd.join(withClient), crowd.join(withClient), crowd.join()]
      await until(() => crowd.written() > 100_000, 'they have worked', 25_000)
      const results = await Promise.all(processes.map((process) => process.finish()))
      expect(judge(crowd.events(), LIMIT)).toEqual({ wrong: [], most: LIMIT, left: 0 })
      for (const { errors, granted } of results) {
        expect(errors).toEqual([])
        expect(granted).toBeGreaterThan(5)
      }
    } finally {
      crowd.end()
    }
  })

  test('connections that are killed under load leave nothing behind', async () => {
    const own = await startRedis()
    const witness = new Limiter(own.url)
    const config = { key: 'killed', limit: LIMIT, limitExpire: 5, limitTimeout: 20 }
    const options = { client: kind, port: own.port }
    const crowd = startCrowd({ options, config, tasks: 10, work: [1, 20], aborts: 0.1 })
    try {
      const processes = [crowd.join(), crowd.join()]
      await until(() => crowd.written() > 16_000, 'they are at work', 20_000)
      for (let i = 0; i < 12; i++) {
        await sleep(300)
        await redis(own.port, 'CLIENT', 'KILL', 'TYPE', i % 3 === 2 ? 'pubsub' : 'normal')
      }
      const results = await Promise.all(processes.map((process) => process.finish()))
      expect(judge(crowd.events(), LIMIT)).toEqual({ wrong: [], most: LIMIT, left: 0 })
      for (const { errors, lost, reconnects } of results) {
        expect({ errors, lost }).toEqual({ errors: [], lost: [] })
        expect(reconnects).toBeGreaterThan(3)
      }
      await until(async () => {
        const { held, waiting } = await witness.status('killed')
        return held === 0 && waiting === 0
      }, 'nothing is held, nobody waits')
    } finally {
      crowd.end()
      await witness.close()
      await own.stop()
    }
  })

  test('a client that is closed for good ends the waiting, and leases at their deadline', async () => {
    const { client, quit } = await bring(kind, server)
    const limiter = new Limiter({ client })
    const lost = []
    limiter.on('lost', (loss) => lost.push(loss))
    const lease = await limiter.acquire({ key: `quit ${kind}`, limit: 1, limitExpire: 1 })
    const next = rejection(limiter.acquire({ key: `quit ${kind}`, limit: 1, limitTimeout: 20 }))
    await until(async () => (await limiter.status(`quit ${kind}`)).waiting === 1, 'one waits')
    const at = performance.now()
    await quit()
    expect(await next).toBeInstanceOf(UnavailableError)
    expect((await next).message).toContain('was closed')
    expect(performance.now() - at).toBeLessThan(3000)
    await until(() => lost.length === 1, 'the loss is told')
    expect([lease.lost, await lease.release()]).toEqual([true, false])
    expect(await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))).toBeInstanceOf(UnavailableError)
    await limiter.close()
  })

  test('a server that is gone makes nobody wait beyond his time, whatever the client keeps in its queue', async () => {
    const own = await startRedis()
    const brought = await bring(kind, own)
    const limiter = new Limiter({ client: brought.client, settle: 0, commandTimeout: 0.3 })
    const gone = []
    limiter.on('disconnect', (event) => gone.push(event))
    await limiter.withLimit({ key: 'k', limit: 1 }, () => {})
    await own.stop()
    await until(() => gone.length > 0, 'disconnect')
    const at = performance.now()
    const errors = await Promise.all([
      rejection(limiter.acquire({ key: 'k', limit: 1, limitTimeout: 0.5 })),
      rejection(limiter.status('k')),
    ])
    expect(performance.now() - at).toBeLessThan(3000)
    for (const error of errors) expect(error).toBeInstanceOf(UnavailableError)
    const back = await startRedis({ port: own.port })
    const again = await until(() => limiter.acquire({ key: 'k', limit: 1 }).catch(() => null), 'it is back')
    expect(again.slot).toBe(1)
    await limiter.close()
    brought.end()
    await back.stop()
  })

  test('where channels are forbidden, waiting is by looking, and that is told', async () => {
    const { client, ask, end } = await bring(kind, server)
    await ask('ACL', 'SETUSER', 'deaf', 'on', '>secret', 'resetchannels', '~*', '+@all')
    const deaf = await bring(kind, { ...server, username: 'deaf', password: 'secret' })
    const limiter = new Limiter({ client: deaf.client })
    const told = []
    limiter.on('pushUnavailable', () => told.push(1))
    const other = new Limiter({ client })
    const held = await other.acquire({ key: `deaf ${kind}`, limit: 1 })
    const next = limiter.acquire({ key: `deaf ${kind}`, limit: 1, limitInterval: 0.05 })
    await until(async () => (await other.status(`deaf ${kind}`)).waiting === 1, 'one waits')
    await held.release()
    expect((await next).waited).toBeLessThan(5)
    expect(told).toHaveLength(1)
    await Promise.all([limiter.close(), other.close()])
    deaf.end()
    end()
  })

  test('a blocked event loop loses its lease, and knows it at once', async () => {
    const { client, end } = await bring(kind, server)
    const limiter = new Limiter({ client })
    const lease = await limiter.acquire({ key: `blocked ${kind}`, limit: 1, limitExpire: 0.5 })
    const until = performance.now() + 1300
    while (performance.now() < until);
    expect([lease.lost, lease.signal.aborted, await lease.release()]).toEqual([true, true, false])
    await (await limiter.acquire({ key: `blocked ${kind}`, limit: 1 })).release()
    await limiter.close()
    end()
  })

  test('worker threads bring their own, and may be terminated in the middle of it', async () => {
    const terms = { key: `threads ${kind}`, limit: 1, limitExpire: 0.5 }
    const start = (stays) =>
      new Worker(new URL('../support/client.worker.mjs', import.meta.url), {
        workerData: { kind, port: server.port, terms, stays },
      })
    const first = start(true)
    const [slot] = await once(first, 'message')
    await first.terminate()
    const second = start(false)
    expect([slot, (await once(second, 'message'))[0], (await once(second, 'exit'))[0]]).toEqual([1, 1, 0])
  })

  test('neither a lease nor a subscription keeps a process alive', async () => {
    const source = `
      import { bring } from './__test__/support/clients.mjs'
      import { Limiter } from 'concurrency-limit'
      const { client, end } = await bring(${JSON.stringify(kind)}, { port: ${server.port} })
      const limiter = new Limiter({ client })
      const lease = await limiter.acquire({ key: 'exits', limit: 100 })
      console.log(lease.slot > 0)
      end()`
    const { code, output } = await runNode(['--input-type=module'], { source, bound: 10_000 })
    expect({ code, output }).toEqual({ code: 0, output: 'true\n' })
  })

  test('a process that ends does not wait for what it cannot give back', async () => {
    const source = `
      import { bring } from './__test__/support/clients.mjs'
      import { Limiter } from 'concurrency-limit'
      const { client } = await bring(${JSON.stringify(kind)}, { port: ${server.port} })
      await new Limiter({ client }).acquire({ key: 'exits at once', limit: 100 })
      const at = performance.now()
      process.on('exit', () => console.log(performance.now() - at < 150))
      process.exit(7)`
    expect(await runNode(['--input-type=module'], { source })).toEqual({ code: 7, output: 'true\n' })
  })
})

describe('clients that are not connected yet', () => {
  test('one of ioredis that connects lazily is connected by the first request', async () => {
    const client = new Redis({ port: server.port, lazyConnect: true })
    const limiter = new Limiter({ client })
    expect(client.status).toBe('wait')
    await limiter.withLimit({ key: 'lazy', limit: 1 }, () => {})
    await limiter.close()
    client.disconnect()
  })

  test('one of node-redis is waited for', async () => {
    const client = createClient({ url: server.url }).on('error', () => {})
    const limiter = new Limiter({ client, connectTimeout: 0.2 })
    const early = await rejection(limiter.acquire({ key: 'lazy', limit: 1, limitTimeout: 0.3 }))
    expect(early).toBeInstanceOf(UnavailableError)
    expect(early.message).toContain('not ready')
    const lease = limiter.acquire({ key: 'lazy', limit: 1 })
    await client.connect()
    expect((await lease).slot).toBe(1)
    await limiter.close()
    client.destroy()
  })
})

describe('what is no client', () => {
  const lazy = new Redis({ lazyConnect: true })
  const refused = (options) => {
    try {
      new Limiter(options)
    } catch (error) {
      return error
    }
  }

  test.each([
    ['an empty object', {}],
    ['a function', () => {}],
    ['a pool of node-redis', createClientPool()],
    ['a cluster of node-redis', createCluster({ rootNodes: [{ url: 'redis://h' }] })],
    ['a pipeline of ioredis', lazy.pipeline()],
  ])('%s is refused', (_, client) => {
    const error = refused({ client })
    expect(error).toBeInstanceOf(ConfigError)
    expect(error).toMatchObject({ option: 'client' })
    expect(error.message).toContain('ioredis')
  })

  test('a url instead of a client is refused without its password', () => {
    const error = refused({ client: 'redis://:hunter2@h' })
    expect(error).toMatchObject({ code: 'ERR_CONFIG', option: 'client' })
    expect(error.message).not.toContain('hunter2')
  })

  test('a client with a key prefix of its own is refused by that name', () => {
    for (const client of [
      new Redis({ lazyConnect: true, keyPrefix: 'app:' }),
      createClient({ url: 'redis://:hunter2@h', keyPrefix: 'app:' }),
    ]) {
      const error = refused({ client })
      expect(error).toMatchObject({ code: 'ERR_CONFIG', option: 'client' })
      expect(error.message).toContain('keyPrefix')
      expect(error.message).not.toContain('hunter2')
    }
  })

  test.each([
    ['url', 'redis://h'],
    ['host', 'h'],
    ['port', 1],
    ['path', '/s'],
    ['db', 1],
    ['username', 'u'],
    ['password', 'p'],
    ['tls', true],
    ['cluster', ['h']],
    ['sentinel', { name: 'm', nodes: ['h'] }],
    ['clientName', 'n'],
    ['maxConnections', 3],
    ['minReplicas', 1],
  ])('%s beside a client is refused', (option, value) => {
    const error = refused({ client: lazy, [option]: value })
    expect(error).toBeInstanceOf(ConfigError)
    expect([option, 'client']).toContain(error.option)
  })
})

test('errors say where the client leads, without its password', async () => {
  const port = await freePort()
  const client = new Redis({ port, password: 'hunter2', retryStrategy: null }).on('error', () => {})
  const limiter = new Limiter({ client })
  const error = await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))
  expect(error).toBeInstanceOf(UnavailableError)
  expect(error.message).toContain(`:${port}`)
  expect(error.message).not.toContain('hunter2')
  await limiter.close()
})
