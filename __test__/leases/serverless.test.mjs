// A serverless platform freezes an instance between two invocations and thaws it for the next. That one works at once,
// whatever happened to the connection meanwhile, and hears of a lease that didn't last.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { redis, until } from '../support/helpers.mjs'
import { startProxy } from '../support/proxy.mjs'

const WORKER = fileURLToPath(new URL('../support/serverless.worker.mjs', import.meta.url))
const AT_ONCE_MS = 500

const server = useRedis()
const witness = useLimiter(server)

/** An instance: `invoke(name, event)` → `{ answer, ms }`, `freeze()`, `thaw()`, `pid`. */
async function withInstance(url, body) {
  const child = fork(WORKER, { env: { ...process.env, REDIS_URL: url } })
  const ended = once(child, 'exit')
  try {
    await body({
      pid: child.pid,
      child,
      ended,
      async invoke(name, event) {
        child.send({ name, event })
        return (await once(child, 'message'))[0]
      },
      freeze: () => child.kill('SIGSTOP'),
      thaw: () => child.kill('SIGCONT'),
    })
  } finally {
    // As the platform ends it, and not by a kill, which may come before what was given back last is sent.
    child.kill('SIGCONT')
    child.kill('SIGTERM')
    const patience = setTimeout(() => child.kill('SIGKILL'), 5000)
    await ended
    clearTimeout(patience)
  }
}

const charged = (order) => ({ statusCode: 200, body: `charged ${order}` })
const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await redis(server.port, 'INFO', 'stats'))[1])

describe('an instance that holds nothing', () => {
  test('sends nothing between two invocations', () =>
    withInstance(server.url, async ({ invoke }) => {
      await invoke('handler', { order: 1 })
      await until(async () => (await witness.status('payments')).held === 0, 'the slot is back')
      const before = await commands()
      await new Promise((resolve) => setTimeout(resolve, 2000))
      expect((await commands()) - before).toBe(1) // the question itself
    }))

  test('works at once after it was frozen', () =>
    withInstance(server.url, async ({ invoke, freeze, thaw }) => {
      await invoke('handler', { order: 1 })
      freeze()
      await new Promise((resolve) => setTimeout(resolve, 1500))
      thaw()
      const { answer, ms } = await invoke('handler', { order: 2 })
      expect(answer).toEqual(charged(2))
      expect(ms).toBeLessThan(AT_ONCE_MS)
    }))

  test('works at once when its connection was ended while it was frozen', () =>
    withInstance(server.url, async ({ invoke, freeze, thaw }) => {
      await invoke('handler', { order: 1 })
      freeze()
      await redis(server.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
      thaw()
      const { answer, ms } = await invoke('handler', { order: 2 })
      expect(answer).toEqual(charged(2))
      expect(ms).toBeLessThan(AT_ONCE_MS)
    }))

  test('works within commandTimeout and a new connection when the network has forgotten the old one', async () => {
    const proxy = await startProxy(server.port)
    try {
      await withInstance(`redis://127.0.0.1:${proxy.port}`, async ({ invoke, freeze, thaw }) => {
        await invoke('handler', { order: 1 })
        freeze()
        proxy.forget()
        thaw()
        const { answer, ms } = await invoke('handler', { order: 2 })
        expect(answer).toEqual(charged(2))
        expect(ms).toBeLessThan(1000 + AT_ONCE_MS)
      })
    } finally {
      await proxy.close()
    }
  })
})

describe('an instance that holds a lease', () => {
  test('keeps it through a freeze that is shorter', () =>
    withInstance(server.url, async ({ invoke, freeze, thaw }) => {
      await invoke('keep', { key: 'short', limit: 1, limitExpire: 10 })
      freeze()
      await new Promise((resolve) => setTimeout(resolve, 500))
      thaw()
      const { answer } = await invoke('look')
      expect(answer).toEqual({ lost: false, aborted: false, told: [], released: true })
    }))

  test('is told at once that it lost it in a freeze that was longer, and goes on working', () =>
    withInstance(server.url, async ({ invoke, freeze, thaw }) => {
      await invoke('keep', { key: 'long', limit: 1, limitExpire: 0.5 })
      freeze()
      const next = await witness.acquire({ key: 'long', limit: 1 })
      thaw()
      const { answer } = await invoke('look')
      expect(answer).toMatchObject({ lost: true, aborted: true, code: 'ERR_LEASE_LOST', released: false })
      expect(answer.told).toMatchObject([{ key: 'long', slot: 1 }])
      const { answer: another, ms } = await invoke('handler', { order: 3 })
      expect(another).toEqual(charged(3))
      expect(ms).toBeLessThan(AT_ONCE_MS)
      expect(await next.release()).toBe(true)
    }))
})

test('an instance that is told to end ends', () =>
  withInstance(server.url, async ({ invoke, child, ended }) => {
    await invoke('handler', { order: 1 })
    child.kill('SIGTERM')
    expect((await ended)[0]).toBe(0)
  }))

test('a full limit is an answer, with the time after which to try again', async () => {
  const lease = await witness.acquire({ key: 'payments', limit: 10, weight: 10, limitExpire: 30 })
  try {
    await withInstance(server.url, async ({ invoke }) => {
      const { answer } = await invoke('handler', { order: 1 })
      expect(answer.statusCode).toBe(429)
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    })
  } finally {
    await lease.release()
  }
})
