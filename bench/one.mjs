// One measurement in a process of its own: `node one.mjs P1 ours redis://… 2000` prints the figures as JSON; with a share
// as JSON instead of a length it does one process's part of a workload and sends it to its parent.
import { WORKLOADS } from './workloads.mjs'

const [name, system, url, length] = process.argv.slice(2)
const workload = WORKLOADS[name]
if (process.send && length.startsWith('{')) {
  process.send(await workload.work(system, url, JSON.parse(length)), () => process.exit(0))
} else {
  console.log(JSON.stringify(await workload.run(system, url, Number(length))))
  process.exit(0) // whatever a peer leaves open
}
