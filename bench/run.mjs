// Runs the workloads: all systems in turn, several rounds, medians and ratios to ours. `--only P1,P3`, `--peers ours,naive`,
// `--rounds 3`, `--ms 2000`, `--json file`. Starts a Redis of its own on a free port and ends it.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ask, median, sleep } from './measure.mjs'
import { can, isLocal, NAMES } from './systems.mjs'
import { WORKLOADS } from './workloads.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    ms: { type: 'string', default: '2000' },
    json: { type: 'string' },
  },
})
const names = (
  values.only ??
  Object.keys(WORKLOADS)
    .filter((name) => !WORKLOADS[name].hidden)
    .join()
).split(',')
const peers = values.peers ? ['ours', ...values.peers.split(',').filter((peer) => peer !== 'ours')] : NAMES

async function startRedis() {
  const probe = createServer()
  await new Promise((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-bench-'))
  const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--dir', folder]
  const server = spawn(process.env.REDIS_SERVER_BIN ?? 'redis-server', args.map(String), { stdio: 'ignore' })
  const url = `redis://127.0.0.1:${port}`
  for (let tries = 0; !(await ask(url, 'PING').catch(() => '')).includes('PONG'); tries++) {
    if (tries > 200) throw new Error('redis-server did not come up')
    await sleep(50)
  }
  const stop = () => {
    server.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  return { url, stop }
}

/** One measurement; null when the system doesn't manage it. */
function measure(workload, system, url) {
  const args = ['one.mjs', workload, system, url, values.ms]
  try {
    const text = execFileSync(process.execPath, args, {
      cwd: here,
      encoding: 'utf8',
      timeout: 120_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    return JSON.parse(text.trim().split('\n').at(-1))
  } catch (error) {
    console.error(
      `  ${workload} ${system}: ${
        String(error.stderr || error.message)
          .trim()
          .split('\n')[0]
      }`,
    )
    return null
  }
}

function show(figure) {
  if (figure === undefined || Number.isNaN(figure)) return '–'
  return figure >= 1000 ? Math.round(figure).toLocaleString('en') : figure.toPrecision(3)
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows)
    console.log(`  ${row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ')}`)
}

const redis = await startRedis()
const result = { node: process.version, cpu: cpus()[0].model, cores: cpus().length, workloads: {} }
try {
  result.redis = /redis_version:(\S+)/.exec(await ask(redis.url, 'INFO server'))[1]
  const versions = JSON.parse(readFileSync(join(here, 'package-lock.json'), 'utf8')).packages
  result.peers = Object.fromEntries(
    Object.entries(versions)
      .filter(([k]) => k)
      .map(([k, v]) => [k.replace('node_modules/', ''), v.version]),
  )
  console.log(
    `Node ${result.node}, Redis ${result.redis}, ${result.cores} × ${result.cpu}; medians of ${values.rounds} rounds, ratio to ours in ()\n`,
  )
  for (const name of names) {
    const workload = WORKLOADS[name]
    const local = workload.local === true
    const systems = peers.filter((peer) => peer === 'ours' || (isLocal(peer) === local && can(peer, workload.limit)))
    const rounds = Object.fromEntries(systems.map((system) => [system, []]))
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const system of systems) {
        if (!local) await ask(redis.url, 'FLUSHALL')
        const figures = measure(name, system, redis.url)
        if (figures) rounds[system].push(figures)
      }
    }
    const medians = Object.fromEntries(
      systems
        .filter((system) => rounds[system].length > 0)
        .map((system) => [
          system,
          Object.fromEntries(Object.keys(rounds[system][0]).map((k) => [k, median(rounds[system].map((r) => r[k]))])),
        ]),
    )
    result.workloads[name] = medians
    console.log(`${name}: ${workload.title}`)
    const columns = Object.keys(medians.ours ?? {})
    const cell = (figures, k) => `${show(figures[k])} (${show(figures[k] / medians.ours[k])})`
    table([
      ['', ...columns],
      ...Object.entries(medians).map(([system, f]) => [system, ...columns.map((k) => cell(f, k))]),
    ])
    console.log()
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
} finally {
  redis.stop()
}
