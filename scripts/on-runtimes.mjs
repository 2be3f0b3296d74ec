// `npm run test:runtimes [-- name…]`: a short program on each of the runtimes that the package runs on, which
// `runtimes.mjs` fetches: Node.js in all supported versions, Bun and Deno.
import { binding, dependencies, redisServer, requireCargo } from './prepare.mjs'
import { names, runtimeOf } from './runtimes.mjs'
import { runAll } from './step.mjs'

requireCargo()
await dependencies()
await binding()
await redisServer()
const only = process.argv.slice(2)
const runtimes = {}
for (const name of only.length > 0 ? only : names) {
  if (!names.includes(name)) throw new Error(`no runtime ${name}: expected one of ${names}`)
  runtimes[name] = await runtimeOf(name)
  if (runtimes[name] === null) process.exit(1)
}
const args = ['--no-install', 'vitest', 'run', '__test__/runtimes', '--reporter', 'verbose']
await runAll([['runtimes', 'npx', args, { env: { RUNTIMES: JSON.stringify(runtimes) } }]])
