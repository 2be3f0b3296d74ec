// Invokes the function as a platform would, twice in one instance: REDIS_URL=redis://… node examples/lambda/invoke.mjs
import { handler } from './handler.mjs'

for (const order of ['a', 'b']) console.log(await handler({ order }))
