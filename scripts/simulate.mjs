// `npm run simulate -- --seed 7 --faults cuts,crashes`: lives through one simulated world and tells every event, a line
// each: time, who, what. Without --faults nothing goes wrong. An unknown fault is answered with the names of all.
import { parseArgs } from 'node:util'
import { requireCargo } from './prepare.mjs'
import { run } from './step.mjs'

const { values } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, faults: { type: 'string', default: '' } },
})
requireCargo()
const test = ['test', '--quiet', '--profile', 'ci', '--package', 'concurrency-limit', '--test', 'simulation']
const one = ['--', '--ignored', '--exact', '--nocapture', 'replay']
process.exitCode = await run('cargo', [...test, ...one], { env: { SEED: values.seed, FAULTS: values.faults } })
