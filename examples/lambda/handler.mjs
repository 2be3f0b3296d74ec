// A function of a serverless platform that limits what all its instances do together, here calls of one payment API.
//
// The limiter belongs to the module: an instance connects once and keeps the connection through freeze and thaw. It
// needs nothing to run between invocations, because nothing is held then.
import { ConcurrencyLimitExceededError, Limiter } from 'concurrency-limit'

const limiter = new Limiter(process.env.REDIS_URL, { connectTimeout: 3 })
const config = {
  key: 'payments',
  limit: 10,
  limitTimeout: 2, // below the time that the platform gives the function
  limitExpire: 15, // above the time that the function takes: the slot of a killed instance comes back then
}

export async function handler(event) {
  try {
    return await limiter.withLimit(config, async (lease) => {
      const body = await charge(event.order, lease.signal)
      return { statusCode: 200, body }
    })
  } catch (error) {
    if (!(error instanceof ConcurrencyLimitExceededError)) throw error
    return { statusCode: 429, headers: { 'retry-after': String(Math.ceil(error.retryAfter ?? 1)) }, body: 'busy' }
  }
}

// Where the platform says that the instance ends (AWS Lambda does, to functions with an extension), close gives back
// what a cut-off invocation still holds. Without it that ends after limitExpire.
process.once('SIGTERM', () => limiter.close().finally(() => process.exit(0)))

async function charge(order, signal) {
  signal.throwIfAborted()
  return `charged ${order}`
}
