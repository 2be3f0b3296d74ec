// Runs the workloads: all systems in turn, several rounds, medians and ratios, and at the end the aims. `--only P1,P3`,
// `--peers ours,naive`, `--rounds 3`, `--ms 2000`, `--json file`. Uses a Redis of its own.
//
// A limit that was exceeded, or a task that ours never served, ends the run with 1, and so does a measurement of ours
// that failed. A missed aim doesn't: figures depend on the machine.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { AIMS } from './aims.mjs'
import { ask, median } from './measure.mjs'
import { startRedis } from './redis.mjs'
import { showAims, showWorkload } from './show.mjs'
import { can, chosen } from './systems.mjs'
import { NAMES, WORKLOADS } from './workloads.mjs'

const here = dirname(fileURLToPath(import.meta.url))

function whole(name, text) {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${name}: ${text} is given, a whole number from 1 on is expected`)
  return Number(text)
}

/** `P7` is all that begins with it; an aim that is read from other workloads is those. */
function workloadsOf(list) {
  if (list === undefined) return NAMES
  const wanted = list.split(',').flatMap((text) => {
    const name = text.trim().toLowerCase()
    const own = NAMES.filter((known) => known.toLowerCase() === name || known.toLowerCase().startsWith(`${name}-`))
    const found =
      own.length > 0 ? own : AIMS.filter((aim) => aim.name.toLowerCase() === name).flatMap(({ from }) => from)
    if (found.length > 0) return found
    throw new Error(`--only: no workload is called "${text.trim()}"; known are ${NAMES.join(', ')}, and P8, P9`)
  })
  return NAMES.filter((name) => wanted.includes(name))
}

function settings() {
  const string = (fallback) => ({ type: 'string', default: fallback })
  const { values } = parseArgs({
    options: { only: string(), peers: string(), rounds: string('3'), ms: string('2000'), json: string() },
  })
  return {
    names: workloadsOf(values.only),
    systems: chosen(values.peers),
    rounds: whole('rounds', values.rounds),
    ms: whole('ms', values.ms),
    json: values.json,
  }
}

/** One measurement as rows: of the system, or those that the workload makes. None when it failed. */
function measure(name, system, url, ms, failures) {
  try {
    const text = execFileSync(process.execPath, ['one.mjs', name, system, url, String(ms)], {
      cwd: here,
      encoding: 'utf8',
      timeout: 600_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const figures = JSON.parse(text.trim().split('\n').at(-1))
    return figures.rows ?? { [system]: figures }
  } catch (error) {
    const lines = String(error.stderr || error.message)
      .trim()
      .split('\n')
    const why = lines.find((line) => /^\w*Error\b/.test(line)) ?? lines[0]
    console.error(`  ${name} ${system}: ${why}`)
    if (error.status === 3 || system === 'ours') failures.push(`${name} ${system}: ${why}`)
    return {}
  }
}

/** All systems in turn, round after round; the median of each figure. */
async function compare(name, { systems, rounds, ms }, url, failures) {
  const workload = WORKLOADS[name]
  const taken = {}
  for (let round = 0; round < rounds; round++) {
    for (const system of systems.filter((system) => can(system, workload))) {
      await ask(url, 'FLUSHALL')
      for (const [row, figures] of Object.entries(measure(name, system, url, ms, failures)))
        taken[row] = [...(taken[row] ?? []), figures]
    }
  }
  const medians = (all) =>
    Object.fromEntries(Object.keys(all[0]).map((column) => [column, median(all.map((figures) => figures[column]))]))
  return Object.fromEntries(Object.entries(taken).map(([row, all]) => [row, medians(all)]))
}

async function machine(url) {
  const { packages } = JSON.parse(readFileSync(join(here, 'package-lock.json'), 'utf8'))
  const peers = Object.keys(JSON.parse(readFileSync(join(here, 'package.json'), 'utf8')).dependencies)
  return {
    node: process.version,
    redis: /redis_version:(\S+)/.exec(await ask(url, 'INFO server'))[1],
    cpu: cpus()[0].model,
    cores: cpus().length,
    ours: JSON.parse(readFileSync(join(here, '..', 'package.json'), 'utf8')).version,
    peers: Object.fromEntries(peers.map((peer) => [peer, packages[`node_modules/${peer}`].version])),
  }
}

async function run(wanted) {
  const redis = await startRedis()
  const failures = []
  try {
    const on = await machine(redis.url)
    const versions = Object.entries({ ours: on.ours, ...on.peers }).map(([name, version]) => `${name} ${version}`)
    console.log(`Node ${on.node}, Redis ${on.redis}, ${on.cores} × ${on.cpu}`)
    console.log(
      `${versions.join(', ')}\nmedians of ${wanted.rounds} rounds of ${wanted.ms} ms, ratio to the first row in ()\n`,
    )
    const workloads = {}
    for (const name of wanted.names) {
      workloads[name] = await compare(name, wanted, redis.url, failures)
      showWorkload(name, WORKLOADS[name].title, workloads[name])
    }
    const judged = AIMS.filter(({ from }) => from.some((name) => wanted.names.includes(name)))
    const aims = judged.map(({ name, what, asked, figure, met }) => {
      const reached = figure(workloads)
      return { name, what, asked, reached, met: Number.isFinite(reached) ? met(reached) : null }
    })
    showAims(aims)
    if (wanted.json) {
      const { rounds, ms } = wanted
      writeFileSync(wanted.json, `${JSON.stringify({ ...on, rounds, ms, workloads, aims, failures }, null, 2)}\n`)
    }
  } finally {
    redis.stop()
  }
  return failures
}

let wanted
try {
  wanted = settings()
} catch (error) {
  console.error(error.message)
  process.exit(2)
}
const failures = await run(wanted)
for (const failure of failures) console.error(`FAILED ${failure}`)
if (failures.length > 0) process.exitCode = 1
