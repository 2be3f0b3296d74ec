// A lease that its user has forgotten stays held while its process lives: nothing of ours lets another in beside work
// that may still run. Each program collects garbage until the lease's object is gone.
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { runNode, until } from '../support/helpers.mjs'

const server = useRedis()
const witness = useLimiter(server)

/**
 * A program of its own, with `limiter`, the bounded `within(look)` and `collected(count)`, which waits until so many
 * leases were found forgotten. A reference of its own to a lease has only what is in `globalThis`.
 */
function run(body, { place = server.url, env = {} } = {}) {
  const source = `
    import { Limiter, setDefaultLimiter, withLimit } from 'concurrency-limit'
    const limiter = new Limiter(process.env.SERVER)
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
    const within = async (look) => {
      for (let i = 0; !(await look()); i++) {
        if (i === 200) throw new Error('not within 10 s: ' + look)
        await pause(50)
        gc()
      }
    }
    const collected = (count, of = limiter) => within(async () => (await of.stats()).forgotten >= count)
    const held = async (key) => (await limiter.status(key)).held
    ${body}`
  const args = ['--expose-gc', '--input-type=module', '-']
  return runNode(args, { source, env: { SERVER: place, REDIS_URL: server.url, ...env }, bound: 30_000 })
}

/** What the program itself printed. */
const said = (output) => output.split('\n').filter((line) => line !== '' && !line.startsWith('('))
const warnings = (output) => output.match(/CONCURRENCY_LIMIT_FORGOTTEN_LEASE/g)?.length ?? 0
const isFree = (key) => until(async () => (await witness.status(key)).held === 0, `${key} is free`)

describe.concurrent('a lease that was forgotten', () => {
  test.each(['Redis', 'memory:'])('on %s stays held and renewed, whether its signal is kept or not', async (place) => {
    const body = `
      const forget = async (key, limit) => (await limiter.acquire({ key, limit, limitExpire: 0.6 })).signal
      globalThis.signal = await forget('kept signal', 2)
      await forget('kept signal', 2)
      await forget('no signal', 1)
      await limiter.tryAcquire({ key: 'no signal, tried', limit: 1, limitExpire: 0.6 })
      await collected(4)
      for (let i = 0; i < 8; i++) {
        await pause(300)
        gc()
      }
      console.log(await held('kept signal'), await held('no signal'), await held('no signal, tried'), signal.aborted)
      console.log(await limiter.tryAcquire({ key: 'no signal', limit: 1 }))
      const { forgotten, held: all, lost } = await limiter.stats()
      console.log(forgotten, all, lost)
      process.exit(0)`
    const { code, output } = await run(body, { place: place === 'Redis' ? server.url : place })
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['2 1 1 false', 'null', '4 4 0'])
    // One for each key, which says which and what to do.
    expect(warnings(output)).toBe(3)
    expect(output).toMatch(/A lease of "kept signal" .*release\(\).*withLimit.*await using.*limitHold/)
    if (place === 'Redis') await isFree('kept signal')
  })

  test('is none as long as its release is at hand, taken by itself', async () => {
    const body = `
      const take = async (key) => (({ release }) => release)(await limiter.acquire({ key, limit: 1 }))
      globalThis.release = await take('release kept')
      await limiter.acquire({ key: 'nothing kept', limit: 1 })
      await collected(1)
      for (let i = 0; i < 5; i++) {
        await pause(50)
        gc()
      }
      const { forgotten } = await limiter.stats()
      console.log(forgotten, await release(), await release(), await held('release kept'))
      process.exit(0)`
    const { code, output } = await run(body, { place: 'memory:' })
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['1 true true 0'])
    expect(output).not.toContain('release kept')
  })

  test('ends by limitHold: its signal and the event say so, once, and nothing of it is left', async () => {
    const body = `
      import { createRequire } from 'node:module'
      const { holds } = createRequire(process.cwd() + '/x')('./lib/bridge.js')
      limiter.on('lost', ({ key, why }) => console.log('lost', key, why.length > 0))
      globalThis.signal = await limiter.acquire({ key: 'hold', limit: 1, limitExpire: 1, limitHold: 6 }).then((lease) => lease.signal)
      await collected(1)
      console.log(await held('hold'), signal.aborted)
      await within(() => signal.aborted)
      await within(async () => (await held('hold')) === 0)
      console.log(signal.reason.code, holds.size, (await limiter.stats()).held)`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['1 false', 'lost hold true', 'ERR_LEASE_LOST 0 0'])
    expect(output.match(/^lost/gm)).toHaveLength(1)
  })

  test('that is taken away by somebody later crashes nothing', async () => {
    const body = `
      const other = new Limiter({ url: process.env.SERVER, clientName: 'other' })
      const leaseId = await limiter.acquire({ key: 'taken', limit: 1, limitExpire: 0.9 }).then((lease) => lease.leaseId)
      await collected(1)
      console.log(await other.release({ key: 'taken', leaseId }))
      await within(async () => (await limiter.stats()).lost === 1)
      await limiter.withLimit({ key: 'taken', limit: 1 }, () => console.log('next'))
      console.log(await held('taken'))`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['true', 'next', '0'])
  })

  test('is given back by close, and its signal is aborted', async () => {
    const body = `
      globalThis.signal = await limiter.acquire({ key: 'close', limit: 1 }).then((lease) => lease.signal)
      await collected(1)
      console.log(await held('close'), signal.aborted)
      await limiter.close()
      console.log(signal.reason.code)
      const other = new Limiter(process.env.SERVER)
      console.log((await other.status('close')).held)`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['1 false', 'ERR_LEASE_LOST', '0'])
  })

  test.each(['', 'process.exit(3)'])('is given back when the process ends: %s', async (end) => {
    const key = `ends ${end}`
    const body = `
      await limiter.acquire({ key: ${JSON.stringify(key)}, limit: 1 })
      await collected(1)
      console.log(await held(${JSON.stringify(key)}))
      ${end}`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: end === '' ? 0 : 3 })
    expect(output).toMatch(/^1$/m)
    await isFree(key)
  })

  test('keeps its limiter, its events and its slot although nothing refers to the limiter either', async () => {
    const body = `
      await (async () => {
        const dropped = new Limiter({ url: process.env.SERVER, clientName: 'dropped' })
        dropped.on('lost', ({ key }) => console.log('lost', key))
        await dropped.acquire({ key: 'no limiter', limit: 1, limitExpire: 0.6, limitHold: 6 })
      })()
      const same = new Limiter({ url: process.env.SERVER, clientName: 'dropped' })
      await collected(1, same)
      for (let i = 0; i < 5; i++) {
        await pause(300)
        gc()
      }
      console.log(await held('no limiter'))
      await within(async () => (await held('no limiter')) === 0)`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['1', 'lost no limiter'])
  })

  test('under withLimit, wrap or the default limiter, whose function can never end, is held too', async () => {
    const body = `
      const never = () => new Promise(() => {})
      limiter.withLimit({ key: 'never', limit: 3, limitExpire: 0.6 }, never)
      limiter.wrap({ key: 'never', limit: 3, limitExpire: 0.6 }, never)()
      setDefaultLimiter(new Limiter({ url: process.env.SERVER, clientName: 'default' }))
      withLimit({ key: 'never', limit: 3, limitExpire: 0.6 }, never)
      await within(async () => (await held('never')) === 3)
      const same = new Limiter({ url: process.env.SERVER, clientName: 'default' })
      setDefaultLimiter(limiter)
      await collected(2)
      await collected(1, same)
      for (let i = 0; i < 5; i++) {
        await pause(300)
        gc()
      }
      console.log(await held('never'))
      process.exit(0)`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(output).toMatch(/^3$/m)
    expect(warnings(output)).toBe(1)
    await isFree('never')
  })

  test('in a worker thread is held while the thread lives, and given back when it ends', async () => {
    const worker = `
      const { parentPort } = require('node:worker_threads')
      const { Limiter } = require('concurrency-limit')
      const limiter = new Limiter(process.env.SERVER)
      parentPort.once('message', () => process.exit(0))
      setInterval(gc, 50)
      limiter.acquire({ key: 'thread', limit: 1, limitExpire: 0.6 }).then(() => parentPort.postMessage('forgotten'))`
    const body = `
      import { Worker } from 'node:worker_threads'
      const worker = new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [] })
      await new Promise((resolve) => worker.once('message', resolve))
      // Counted together, as the two threads share a session.
      await collected(1)
      await pause(1500)
      console.log(await held('thread'))
      worker.postMessage('end')
      await new Promise((resolve) => worker.once('exit', resolve))
      await within(async () => (await held('thread')) === 0)
      console.log('free')`
    const { code, output } = await run(body)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(said(output)).toEqual(['1', 'free'])
  })
})

test('a lease that somebody can still reach is not forgotten: a reference, or work under withLimit', async () => {
  const body = `
    const kept = await limiter.acquire({ key: 'reached', limit: 2 })
    await limiter.withLimit({ key: 'reached', limit: 2 }, async () => {
      for (let i = 0; i < 30; i++) {
        await pause(50)
        gc()
      }
      console.log(await held('reached'))
    })
    console.log(await kept.release(), (await limiter.stats()).forgotten)`
  expect(await run(body)).toEqual({ code: 0, output: '2\ntrue 0\n' })
})

test('a lease that was lost before it was forgotten is cleared away without a word', async () => {
  const body = `
    import { createRequire } from 'node:module'
    const { holds } = createRequire(process.cwd() + '/x')('./lib/bridge.js')
    await limiter.acquire({ key: 'lost first', limit: 1, limitExpire: 1.2, limitHold: 0.3 })
    await within(() => holds.size === 0)
    console.log((await limiter.stats()).forgotten)`
  expect(await run(body)).toEqual({ code: 0, output: '0\n' })
})
