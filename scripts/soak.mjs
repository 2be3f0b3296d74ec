// `npm run soak -- [minutes]`: load and one fault after the other on one server, for long (soak/long.mjs).
// `npm run soak -- --mix [--seed N] [--minutes M]`: short days drawn from seeds, with all of it together
// (soak/mix.mjs).
import { parseArgs } from 'node:util'
import { binding, dependencies, redisServer } from './prepare.mjs'

const text = { type: 'string' }
const options = { mix: { type: 'boolean', default: false }, seed: text, minutes: text, kind: text, without: text }
const { values } = parseArgs({ allowPositionals: true, options })
await dependencies()
await binding()
await redisServer()

if (!values.mix) await import('./soak/long.mjs')
else {
  const { mix } = await import('./soak/mix.mjs')
  process.exitCode = (await mix(values)) === 0 ? 0 : 1
}
