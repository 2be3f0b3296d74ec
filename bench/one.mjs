// One measurement in a process of its own: `node one.mjs P1 ours redis://… 2000` prints the figures as JSON; with a
// share as JSON instead of a length it does one process's part of a workload and sends it to its parent.
import { Violation } from './measure.mjs'
import { WORKLOADS } from './workloads.mjs'

const [name, system, url, length] = process.argv.slice(2)
const workload = WORKLOADS[name]
try {
  if (length.startsWith('{')) {
    const work = await workload.work(system, url, JSON.parse(length))
    process.send({ work }, () => process.exit(0))
  } else {
    console.log(JSON.stringify(await workload.run(system, url, Number(length))))
    process.exit(0) // whatever a peer leaves open
  }
} catch (error) {
  console.error(error instanceof Violation ? error.message : error)
  process.exit(error instanceof Violation ? 3 : 1)
}
