// Priorities and weights: the heavy report takes two of three slots; the urgent request overtakes it in line.
import { Limiter } from 'concurrency-limit'

const limiter = new Limiter(process.env.REDIS_URL || 'memory:')
const key = `example:priority:${process.pid}`
const first = await limiter.acquire({ key, limit: 3, weight: 3, label: 'everything' })

const order = []
const work = (label, terms) => limiter.withLimit({ key, limit: 3, label, ...terms }, async () => order.push(label))
const all = [work('report', { weight: 2 }), work('urgent', { weight: 2, priority: 5 })]

while ((await limiter.status(key)).waiting < all.length) await new Promise((resolve) => setTimeout(resolve, 5))
await first.release()
await Promise.all(all)
console.log(order.join(', then '))
await limiter.close()
