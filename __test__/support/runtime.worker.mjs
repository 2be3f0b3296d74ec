// The program that runs on each runtime: `program.mjs <what> <key>`, with REDIS_URL. What it is to wait for is a lease
// of a key that the test holds; what it did it says on its standard output. A worker thread is told by its workerData.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Limiter } from '../../index.js'

const [what, key] = isMainThread ? process.argv.slice(2) : workerData
const HOLD_MS = 2
const TURNS = 40

/** Resolves when the test lets go. */
async function told(limiter, word) {
  await limiter.withLimit({ key: `${key}:${word}`, limit: 1, limitTimeout: 60 }, () => {})
}

/** Takes its turns; each as its slot and when it was inside, in milliseconds of the clock that all processes share. */
async function contend() {
  const limiter = new Limiter(process.env.REDIS_URL)
  const turns = []
  const one = async () => {
    while (turns.length < TURNS) {
      await limiter.withLimit({ key, limit: 3, limitTimeout: 30 }, async ({ slot }) => {
        const from = Date.now()
        await new Promise((resolve) => setTimeout(resolve, HOLD_MS))
        turns.push([slot, from, Date.now()])
      })
    }
  }
  await Promise.all([one(), one(), one()])
  await limiter.close()
  return turns
}

const ENDS = {
  idle: () => {},
  exit: () => process.exit(3),
  throw: () =>
    setTimeout(() => {
      throw new Error('meant')
    }),
  reject: () => {
    Promise.reject(new Error('meant'))
  },
  'Deno.exit': () => globalThis.Deno.exit(3),
}

/** Holds a lease that is long, until it is told to end; it doesn't give back. */
async function holdAndEnd(end) {
  const limiter = new Limiter(process.env.REDIS_URL)
  await limiter.acquire({ key, limit: 1, limitExpire: 60 })
  await told(limiter, 'end')
  end()
}

/** The same in a worker thread, which may be terminated; this thread lives on until it's told. */
async function holdInWorker(how) {
  const limiter = new Limiter(process.env.REDIS_URL, { clientName: 'main-thread' })
  const worker = new Worker(new URL(import.meta.url), { workerData: [how, key] })
  worker.on('error', () => {})
  if (how === 'terminate') {
    await told(limiter, 'end')
    await worker.terminate()
  }
  await told(limiter, 'leave')
  await limiter.close()
}

async function contendInWorkers() {
  const workers = [1, 2, 3, 4].map(() => new Worker(new URL(import.meta.url), { workerData: ['contend', key] }))
  const turns = workers.map((worker) => new Promise((resolve) => worker.once('message', resolve)))
  return (await Promise.all(turns)).flat()
}

const say = (turns) => (isMainThread ? console.log(JSON.stringify(turns)) : parentPort.postMessage(turns))
if (what === 'contend') say(await contend())
else if (what === 'contend in workers') say(await contendInWorkers())
else if (isMainThread && what.startsWith('worker ')) await holdInWorker(what.slice('worker '.length))
else if (what === 'terminate') {
  await new Limiter(process.env.REDIS_URL).acquire({ key, limit: 1, limitExpire: 60 })
  setInterval(() => {}, 1000)
} else await holdAndEnd(ENDS[what])
