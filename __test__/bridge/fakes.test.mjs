// In a test's world: a fake clock that stands still, or that runs all its timers, and modules that are loaded over and
// over.
import { expect, test } from 'vitest'
import { runNode } from '../support/helpers.mjs'

/** A program with the package as `load()`, which loads it anew each time, and `work(limiter)`, which uses all of it. */
function run(body) {
  const source = `
    const { createRequire } = require('node:module')
    const fake = require('@sinonjs/fake-timers')
    const load = () => {
      for (const path of Object.keys(require.cache)) {
        if (!path.endsWith('.node') && !path.includes('node_modules')) delete require.cache[path]
      }
      return require('concurrency-limit')
    }
    // Not by console.log, which waits for a fake nextTick; and the process lives until the end is reached.
    const say = (...words) => require('node:fs').writeSync(1, words.join(' ') + '\\n')
    setInterval(() => {}, 1000)
    const work = async (limiter, count = 3000) => {
      const one = async (i) => (await limiter.acquire({ key: 'k' + (i % 50), limit: 100 })).release()
      const lease = await limiter.acquire({ key: 'one', limit: 1 })
      const waiter = limiter.acquire({ key: 'one', limit: 1 })
      await lease.release()
      await (await waiter).release()
      await Promise.all(Array.from({ length: count }, (_, i) => one(i)))
    }
    const main = async () => { ${body} }
    main().then(() => process.exit(), (error) => { say(error.stack); process.exit(1) })`
  return runNode(['--expose-gc', '-e', source], { bound: 30_000 })
}

const METHODS = ['nextTick', 'queueMicrotask', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval']
METHODS.push('setImmediate', 'clearImmediate', 'hrtime', 'performance', 'Date')

test.each(['before', 'after'])(
  'a fake clock set up %s the package is loaded neither stops it nor runs it for ever',
  async (when) => {
    const { code, output } = await run(`
    const install = () => fake.install({ toFake: ${JSON.stringify(METHODS)} })
    let clock = ${when === 'before'} ? install() : undefined
    const { Limiter } = load()
    clock ??= install()
    const limiter = new Limiter('memory:', { stallTimeout: 5 })
    await work(limiter)
    const lease = await limiter.acquire({ key: 'brief', limit: 1, limitExpire: 0.3, renew: false })
    const told = new Promise((resolve) => limiter.once('lost', resolve))
    await new Promise((resolve) => lease.signal.addEventListener('abort', resolve))
    await told
    // Nothing of the package's is on the fake clock.
    say(clock.countTimers(), lease.lost)
    clock.runAll()
    await work(limiter, 10)
    await limiter.close()
    clock.uninstall()
    say('done')`)
    expect({ code, output }).toEqual({ code: 0, output: '0 true\ndone\n' })
  },
)

test('the fake timers of node:test, in place before the package is loaded, do neither, and nothing stays open', async () => {
  const { code, output } = await run(`
    const { mock } = require('node:test')
    process.removeAllListeners('warning') // that they are experimental
    mock.timers.enable()
    const { Limiter } = load()
    const limiter = new Limiter('memory:', { stallTimeout: 2 })
    await work(limiter)
    const held = await limiter.acquire({ key: 'held', limit: 1, limitExpire: 0.5 })
    const lease = await limiter.acquire({ key: 'brief', limit: 1, limitExpire: 0.3, renew: false })
    const told = new Promise((resolve) => limiter.once('lost', resolve))
    await new Promise((resolve) => lease.signal.addEventListener('abort', resolve))
    await told
    mock.timers.runAll()
    await work(limiter, 10)
    // Its heart beats on, or it would be lost.
    const end = process.hrtime.bigint() + 3_000_000_000n
    while (process.hrtime.bigint() < end) await (await limiter.acquire({ key: 'k', limit: 1 })).release()
    say(lease.lost, held.lost)
    mock.timers.reset()
    await limiter.close()
    say(process.getActiveResourcesInfo().filter((type) => type === 'MessagePort').length)`)
  expect({ code, output }).toEqual({ code: 0, output: 'true false\n0\n' })
})

test('with the fake timers of node:test an answer that is waited for keeps the process alive, and nothing else', async () => {
  const source = `
    require('node:test').mock.timers.enable()
    const { Limiter } = require('concurrency-limit')
    const limiter = new Limiter('memory:')
    limiter.acquire({ key: 'k', limit: 1 })
      .then(() => limiter.acquire({ key: 'k', limit: 1, limitTimeout: 0.3 }))
      .catch((error) => console.log(error.code))`
  const { code, output } = await runNode(['--no-warnings', '-e', source], { bound: 10_000 })
  expect({ code, output }).toEqual({ code: 0, output: 'ERR_LIMIT_EXCEEDED\n' })
})

test('what a listener throws is an uncaught exception, as ever, on a fake clock too', async () => {
  const { code, output } = await run(`
    fake.install({ toFake: ${JSON.stringify(METHODS)} })
    process.on('uncaughtException', (error, origin) => say(error.message, origin))
    const { Limiter } = load()
    const limiter = new Limiter('memory:')
    const heard = new Promise((resolve) => limiter.once('lost', () => { resolve(); throw new Error('of a listener') }))
    await limiter.acquire({ key: 'brief', limit: 1, limitExpire: 0.2, renew: false })
    await heard
    await limiter.close()`)
  expect({ code, output }).toEqual({ code: 0, output: 'of a listener uncaughtException\n' })
})

test('a package that is loaded over and over has one listener for the exit, which gives back what each holds', async () => {
  const { code, output } = await run(`
    process.on('warning', (warning) => say(String(warning)))
    const before = process.listenerCount('exit')
    const open = []
    for (let i = 0; i < 15; i++) {
      const { Limiter } = load()
      const limiter = new Limiter('memory:')
      await work(limiter, 10)
      if (i % 2 === 0) await limiter.close()
      else open.push(limiter)
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
    say(new Set(open.map(({ constructor }) => constructor)).size, process.listenerCount('exit') - before)
    for (const limiter of open) await limiter.close()
    say(process[Symbol.for('concurrency-limit.exits')].size)`)
  expect({ code, output }).toEqual({ code: 0, output: '7 1\n0\n' })
})

test('nothing is open after close, and all works again when the next limiter is made', async () => {
  const { code, output } = await run(`
    const open = new Map()
    // As jest's --detectOpenHandles looks.
    const hook = require('node:async_hooks').createHook({
      init: (id, type, _, resource) => {
        if (!/PROMISE|TickObject|Immediate|CustomGC/.test(type)) open.set(id, [type, new WeakRef(resource), 'hasRef' in resource])
      },
      destroy: (id) => open.delete(id),
    })
    const active = () => [...open.values()].filter(([, ref, tells]) => !tells || ref.deref()?.hasRef()).map(([type]) => type)
    const { Limiter } = load()
    const use = async () => {
      const limiters = [new Limiter('memory:'), new Limiter('memory:', { stallTimeout: 5 })]
      for (const limiter of limiters) await work(limiter, 100)
      const held = await limiters[0].acquire({ key: 'left', limit: 9 })
      held.signal
      await limiters[1].close()
      await work(limiters[0], 100)
      await limiters[0].close({ release: false })
      say(held.lost, await held.release())
    }
    for (let i = 0; i < 3; i++) {
      hook.enable()
      await use()
      // It turns the event loop for 30 ms at most, and doesn't need a collection of garbage.
      const end = Date.now() + 30
      while (active().length > 0 && Date.now() < end) await new Promise(setImmediate)
      hook.disable()
      say(active().join())
    }`)
  expect({ code, output }).toEqual({ code: 0, output: 'false false\n\n'.repeat(3) })
})
