// A holder with a name of its own: taken here, given back somewhere else, for instance when a webhook arrives.
import { Limiter } from 'concurrency-limit'

const here = new Limiter(process.env.REDIS_URL || 'memory:')
const key = `example:orders:${process.pid}`
const lease = await here.acquire({ key, limit: 5, holder: 'order-17', limitExpire: 3600 })
console.log(`order-17 has slot ${lease.slot}`)

console.log(`given back by name: ${await here.release({ key, holder: 'order-17' })}`)
console.log(`a second time: ${await here.release({ key, holder: 'order-17' })}`)
await here.close()
