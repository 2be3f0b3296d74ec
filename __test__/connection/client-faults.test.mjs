// Clients that users bring, in bad times: processes that are killed, servers that vanish, rights that lack, threads
// that hang or end.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Limiter, UnavailableError } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { bring, KINDS } from '../support/clients.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { redis, rejection, runNode, startRedis, until } from '../support/helpers.mjs'
import { judge, startCrowd } from '../support/load.mjs'

const LIMIT = 5

const server = useRedis()

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
