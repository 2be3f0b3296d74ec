// What is opened and ended over and over leaves nothing behind: no thread, no socket, no memory, no lease, no waiter.
import { describe, expect, test } from 'vitest'
import { useLimiter, useRedis } from '../support/fixtures.mjs'
import { runNode, until } from '../support/helpers.mjs'

const server = useRedis()
const witness = useLimiter(server)

const nothingIsLeft = (key) =>
  until(async () => {
    const { held, waiting } = await witness.status(key)
    return held === 0 && waiting === 0
  }, 'nothing is held, nobody waits')

/** A program of its own that counts its threads and descriptors, and its memory in MB, before and after `body`. */
function measured(body) {
  const source = `
    import { readdirSync, readFileSync } from 'node:fs'
    import { Worker } from 'node:worker_threads'
    import { Limiter } from 'concurrency-limit'
    const url = process.env.SERVER
    const measure = async () => {
      for (let i = 0; i < 5; i++) {
        gc()
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      const [, pages] = readFileSync('/proc/self/statm', 'utf8').split(' ')
      const count = (what) => readdirSync('/proc/self/' + what).length
      return { threads: count('task'), descriptors: count('fd'), megabytes: pages * 4096 / 2 ** 20 }
    }
    const within = async (look) => {
      for (let i = 0; i < 100 && !(await look()); i++) await new Promise((resolve) => setTimeout(resolve, 50))
    }
    ${body}
    const before = await measure()
    for (let round = 0; round < ROUNDS; round++) await work(round)
    const isBack = async () => {
      const { threads, descriptors } = await measure()
      return threads <= before.threads && descriptors <= before.descriptors
    }
    await within(isBack)
    console.log(JSON.stringify({ before, after: await measure() }))`
  return runNode(['--expose-gc', '--input-type=module', '-'], { source, env: { SERVER: server.url }, bound: 60_000 })
}

function expectFlat({ code, output }, megabytes) {
  expect({ code, output }).toMatchObject({ code: 0 })
  const { before, after } = JSON.parse(output)
  expect(after.threads).toBeLessThanOrEqual(before.threads)
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors)
  expect(after.megabytes - before.megabytes).toBeLessThan(megabytes)
}

describe.concurrent('nothing is left behind', () => {
  test('by a thousand limiters, each with a connection of its own, opened, used and closed', async () => {
    const outcome = await measured(`
      const ROUNDS = 40
      const use = async (i) => {
        const limiter = new Limiter(url, { clientName: 'user-' + i })
        const lease = await limiter.acquire({ key: 'thousand', limit: 1000 })
        await lease.release()
        await limiter.close()
      }
      const work = (round) => Promise.all(Array.from({ length: 25 }, (_, i) => use(25 * round + i)))
      await work(-1)
      await work(-2)`)
    expectFlat(outcome, 16)
    await nothingIsLeft('thousand')
  })

  test('by worker threads that are ended with acquires under way', async () => {
    const outcome = await measured(`
      const ROUNDS = 8
      const start = async (how) => {
        const worker = new Worker('./__test__/support/leak.worker.mjs', { workerData: { url, key: 'threads', how }, execArgv: [] })
        worker.on('error', () => {})
        const ended = new Promise((resolve) => worker.once('exit', resolve))
        await new Promise((resolve) => worker.once('message', resolve))
        if (how === 'is terminated') await worker.terminate()
        await ended
      }
      const work = async () => {
        for (const how of ['exits', 'throws', 'is terminated']) await start(how)
      }
      await work()`)
    expectFlat(outcome, 32)
    await nothingIsLeft('threads')
  })

  test('by a process that ends while threads of it hold and wait', async () => {
    const source = `
      import { Worker } from 'node:worker_threads'
      const workerData = { url: process.env.SERVER, key: 'exit', how: 'stays' }
      const workers = [1, 2, 3].map(() => new Worker('./__test__/support/leak.worker.mjs', { workerData, execArgv: [] }))
      await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
      process.exit(3)`
    const outcome = await runNode(['--input-type=module', '-'], { source, env: { SERVER: server.url } })
    expect(outcome).toEqual({ code: 3, output: '' })
    await nothingIsLeft('exit')
  })
})
