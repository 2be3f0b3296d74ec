// An instance of a serverless platform: invokes the function of the example when it is told to, and one that forgets to
// give its lease back.
import { Limiter } from 'concurrency-limit'
import { handler } from '../../examples/lambda/handler.mjs'

const limiter = new Limiter(process.env.REDIS_URL)
const told = []
limiter.on('lost', ({ key, slot, why }) => told.push({ key, slot, why }))
let kept

const functions = {
  handler,
  async keep(config) {
    kept = await limiter.acquire(config)
    kept.signal
    return kept.slot
  },
  /** What a later invocation sees of the lease that was kept: in its first moment, and one turn later. */
  async look() {
    const { lost } = kept
    await new Promise((resolve) => setImmediate(resolve))
    return { lost, aborted: kept.signal.aborted, code: kept.signal.reason?.code, told, released: await kept.release() }
  },
}

process.on('message', async ({ name, event }) => {
  const started = performance.now()
  const answer = await functions[name](event)
  process.send({ answer, ms: performance.now() - started })
})
