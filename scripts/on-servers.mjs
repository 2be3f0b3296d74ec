// `npm run test:servers [-- name…]`: all tests that need a Redis, on each of the servers that are supported: the
// system's and those that `servers.mjs` fetches.
import { binding, dependencies, redisServer, requireCargo } from './prepare.mjs'
import { names, serverOf } from './servers.mjs'
import { runAll } from './step.mjs'

const SYSTEM = 'redis-system'

/** Tests of the core that start a server; the others know no Redis. */
const CORE = ['redis_store', 'conformance', 'agreement', 'scripts', 'library', 'limiter', 'together', 'cluster']
const core = ['test', '--profile', 'ci', '--quiet', '-p', 'concurrency-limit', ...CORE.flatMap((of) => ['--test', of])]

requireCargo()
await dependencies()
await binding()
const only = process.argv.slice(2)
const steps = []
for (const name of only.length > 0 ? only : [SYSTEM, ...names]) {
  if (name !== SYSTEM && !names.includes(name))
    throw new Error(`no server ${name}: expected one of ${[SYSTEM, ...names]}`)
  const program = name === SYSTEM ? await redisServer() : await serverOf(name)
  if (program === null) throw new Error(`${name} could not be had`)
  const options = { minutes: 15, env: { REDIS_SERVER_BIN: program } }
  steps.push([`${name}: tests of the core`, 'cargo', core, options])
  steps.push([`${name}: tests of the package`, 'npx', ['--no-install', 'vitest', 'run'], options])
}
await runAll(steps)
