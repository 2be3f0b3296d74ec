// The program that build.mjs bundles.
import { Limiter } from 'concurrency-limit'

const limiter = new Limiter(process.env.REDIS_URL || 'memory:')
console.log(await limiter.withLimit({ key: 'bundled', limit: 3 }, (lease) => `slot ${lease.slot}, from a bundle`))
await limiter.close()
