// `npm test`: makes a fresh clone ready, then runs all tests, those of the core first. Arguments go to vitest, and
// then only vitest runs: `npm test -- order`.
import { binding, dependencies, redisServer, requireCargo } from './prepare.mjs'
import { faketime, valkey } from './servers.mjs'
import { runAll } from './step.mjs'

const only = process.argv.slice(2)
requireCargo()
await dependencies()
await binding()
console.log(`redis-server: ${await redisServer()}`)
console.log(`for clocks that step: ${await valkey()} under ${await faketime()}`)

const core = ['tests of the core', 'cargo', ['test', '--workspace', '--profile', 'ci', '--quiet'], { minutes: 15 }]
const node = ['tests of the package', 'npx', ['--no-install', 'vitest', 'run', ...only], { minutes: 20 }]
await runAll(only.length > 0 ? [node] : [core, node])
