// A request that is no longer wanted leaves the line at once, and those behind it move up.
import { Limiter } from 'concurrency-limit'

const limiter = new Limiter(process.env.REDIS_URL || 'memory:')
const key = `example:abort:${process.pid}`
const held = await limiter.acquire({ key, limit: 1 })

const impatient = limiter.acquire({ key, limit: 1, signal: AbortSignal.timeout(50) })
await impatient.catch((reason) => console.log(`left the line: ${reason.name}`))

console.log(`${(await limiter.status(key)).waiting} wait now`)
await held.release()
await limiter.close()
