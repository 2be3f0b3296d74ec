// How a process lives and ends with a limiter in it: what keeps it alive, what it gives back, what it says.
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, runNode, startRedis, until } from '../support/helpers.mjs'

const server = useRedis()
const witness = useLimiter(server)

/** A program of its own, with `limiter` and `config` at hand. */
function run(key, body, { env = {} } = {}) {
  const source = `
    import { Limiter, withLimit } from 'concurrency-limit'
    const limiter = new Limiter(process.env.SERVER)
    const config = ${JSON.stringify({ key, limit: 1 })}
    ${body}`
  return runNode(['--input-type=module', '-'], { source, env: { SERVER: server.url, REDIS_URL: '', ...env } })
}

const free = async (key) => {
  const lease = await witness.tryAcquire({ key, limit: 1 })
  return lease === null ? false : lease.release()
}

describe('a process ends by itself', () => {
  test('with a limiter that is idle', async () => {
    const { code, output } = await run('idle', `await limiter.withLimit(config, () => console.log('done'))`)
    expect({ code, output }).toEqual({ code: 0, output: 'done\n' })
  })

  test('with a limiter that was never used', async () => {
    expect(await run('unused', '')).toEqual({ code: 0, output: '' })
  })

  test('with a lease that it still holds and a signal that it watches, and gives the lease back', async () => {
    const { code } = await run('held', `globalThis.lease = await limiter.acquire(config); lease.signal`)
    expect(code).toBe(0)
    expect(await free('held')).toBe(true)
  })

  test('only after what it waits for was granted', async () => {
    const holder = await witness.acquire({ key: 'pending', limit: 1 })
    const ended = run('pending', `limiter.acquire(config).then(({ slot }) => console.log('slot', slot))`)
    await until(async () => (await witness.status('pending')).waiting === 1, 'it waits')
    await holder.release()
    expect(await ended).toEqual({ code: 0, output: 'slot 1\n' })
    expect(await free('pending')).toBe(true)
  })
})

describe('a process that is ended gives back what it holds', () => {
  test('by process.exit', async () => {
    expect((await run('exit', `await limiter.acquire(config); process.exit(3)`)).code).toBe(3)
    expect(await free('exit')).toBe(true)
  })

  test('by an uncaught error', async () => {
    const body = `await limiter.acquire(config); setImmediate(() => { throw new Error('mine') })`
    const { code, output } = await run('uncaught', body)
    expect(code).toBe(1)
    expect(output).toContain('mine')
    expect(await free('uncaught')).toBe(true)
  })

  test('by process.exit in the turn of a release, without delay', async () => {
    const { code } = await run('turn', `const lease = await limiter.acquire(config); lease.release(); process.exit(0)`)
    expect(code).toBe(0)
    expect(await free('turn')).toBe(true)
  })

  test('while it waits: it leaves the line', async () => {
    const holder = await witness.acquire({ key: 'line', limit: 1 })
    const body = `limiter.acquire(config)
      while ((await limiter.status(config.key)).waiting < 1) await new Promise((resolve) => setTimeout(resolve, 5))
      process.exit(0)`
    expect((await run('line', body)).code).toBe(0)
    await holder.release()
    expect(await free('line')).toBe(true)
  })

  test('even when Redis is gone by then, and soon', async () => {
    const gone = await startRedis()
    const [, pid] = /process_id:(\d+)/.exec(await redis(gone.port, 'INFO', 'server'))
    const body = `
      await limiter.acquire(config)
      process.kill(Number(process.env.REDIS_PID), 'SIGSTOP')
      const start = performance.now()
      process.once('exit', () => console.log(performance.now() - start < 2000 ? 'soon' : 'late'))
      process.exit(0)`
    const { code, output } = await run('gone', body, { env: { SERVER: gone.url, REDIS_PID: pid } })
    await gone.stop()
    expect({ code, output }).toEqual({ code: 0, output: 'soon\n' })
  })
})

describe('without a server named', () => {
  const unnamed = (body, env) => runNode(['--input-type=module', '-'], { source: body, env })

  test('the limit holds in this process only, and one warning says so', async () => {
    const source = `
      import { Limiter, withLimit } from 'concurrency-limit'
      new Limiter()
      new Limiter({ settle: 0 })
      console.log(await withLimit({ key: 'k', limit: 1 }, ({ slot }) => slot))`
    const { code, output } = await unnamed(source, { REDIS_URL: '' })
    expect(code).toBe(0)
    expect(output).toMatch(/^1$/m)
    expect(output.match(/CONCURRENCY_LIMIT_MEMORY/g)).toHaveLength(1)
  })

  test('memory: says that it is meant, and nobody warns', async () => {
    const source = `
      import { Limiter } from 'concurrency-limit'
      await new Limiter('memory:').withLimit({ key: 'k', limit: 1 }, () => {})`
    expect(await unnamed(source, { REDIS_URL: '' })).toEqual({ code: 0, output: '' })
  })

  test('a time that looks like milliseconds brings one warning, and one of seconds none', async () => {
    const asked = (config) => `
      import { withLimit, Limiter, setDefaultLimiter } from 'concurrency-limit'
      setDefaultLimiter(new Limiter('memory:'))
      for (const config of ${config}) await withLimit({ key: 'k', limit: 1, ...config }, () => {})`
    const milliseconds = '[{ limitTimeout: 5000 }, { limitTimeout: 5000 }, { limitExpire: 1500 }]'
    const { code, output } = await unnamed(asked(milliseconds))
    expect({ code, warnings: output.match(/CONCURRENCY_LIMIT_MILLISECONDS/g) }).toMatchObject({
      code: 0,
      warnings: ['CONCURRENCY_LIMIT_MILLISECONDS'],
    })
    expect(output).toMatch('limitTimeout: 5000 means 5000 seconds. If milliseconds are meant, write 5.')
    const seconds = '[{ limitTimeout: Infinity }, { limitTimeout: 999, limitExpire: 3600 }, { limitExpire: 86400 }]'
    expect(await unnamed(asked(seconds))).toEqual({ code: 0, output: '' })
  })

  test('REDIS_URL says where', async () => {
    const holder = await witness.acquire({ key: 'environment', limit: 1 })
    const source = `
      import { withLimit } from 'concurrency-limit'
      await withLimit({ key: 'environment', limit: 1, limitTimeout: 0 }, () => {}).catch(({ code }) => console.log(code))`
    expect(await unnamed(source, { REDIS_URL: server.url })).toEqual({ code: 0, output: 'ERR_LIMIT_EXCEEDED\n' })
    await holder.release()
  })

  test('a REDIS_URL of a kind that is not supported is an error, not a silent default', async () => {
    const source = `import { withLimit } from 'concurrency-limit'
      await withLimit({ key: 'k', limit: 1 }, () => {}).catch(({ code, option }) => console.log(code, option))`
    expect(await unnamed(source, { REDIS_URL: 'http://h' })).toEqual({ code: 0, output: 'ERR_CONFIG url\n' })
  })
})

describe('worker threads', () => {
  test('share the limit, and end by themselves whether they end, exit or are terminated', async () => {
    const body = `
      import { Worker } from 'node:worker_threads'
      const slots = []
      // Node.js loses a thread's message now and then, without this package too: then another thread is started.
      const start = async (how) => {
        const worker = new Worker('./__test__/support/thread.worker.mjs', { workerData: how, execArgv: [] })
        const slot = await new Promise((resolve) => {
          const late = setTimeout(resolve, 5_000)
          worker.once('message', (slot) => resolve(slot, clearTimeout(late)))
        })
        if (slot === undefined) return worker.terminate().then(() => start(how))
        slots.push(slot)
        return worker
      }
      for (const how of ['ends', 'exits', 'is terminated']) {
        const worker = await start(how)
        if (how === 'is terminated') await worker.terminate()
        else await new Promise((resolve) => (worker.threadId === -1 ? resolve() : worker.once('exit', resolve)))
      }
      console.log(slots.every((slot) => slot >= 1 && slot <= 3), await limiter.stats().then(() => 'alive'))`
    expect(await run('threads', body)).toEqual({ code: 0, output: 'true alive\n' })
  })
})

test('import and require give the same', async () => {
  const source = `
    import * as esm from 'concurrency-limit'
    import { createRequire } from 'node:module'
    const cjs = createRequire(process.cwd() + '/x')('concurrency-limit')
    const names = Object.keys(esm).filter((name) => name !== 'default' && name !== 'module.exports').sort()
    console.log(names.join(' '), names.every((name) => esm[name] === cjs[name]))`
  const { output } = await runNode(['--input-type=module', '-'], { source })
  expect(output.trim()).toBe(
    'BinaryError ClosedError ConcurrencyLimitError ConcurrencyLimitExceededError ConfigError LeaseLostError Limiter ' +
      'ProtocolError QueueFullError UnavailableError setDefaultLimiter tracingChannels withLimit true',
  )
})
