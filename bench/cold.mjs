// What a cold start costs, as in a serverless function: `npm run build && node bench/cold.mjs [--runs 21] [--json
// file]`. Each run is a fresh process; the best of them and the median. Starts a Redis of its own. BINARY=<file>
// measures another binary than the one in the clone, for instance that of `npm run build:release`.
import { execFileSync } from 'node:child_process'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startRedis } from '../__test__/support/programs.mjs'
import { quantile } from './measure.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { values } = parseArgs({ options: { runs: { type: 'string', default: '21' }, json: { type: 'string' } } })
const binary = process.env.BINARY ?? readdirSync(root).find((name) => name.endsWith('.node'))

// Runs in the fresh process. Memory is read last: reading it takes longer than what is measured.
const program = `
  const before = process.memoryUsage()
  const start = performance.now()
  const { Limiter } = require('concurrency-limit')
  const required = performance.now()
  const limiter = new Limiter(process.env.SERVER)
  const opened = performance.now()
  limiter.acquire({ key: 'cold', limit: 1 }).then(async (lease) => {
    const acquired = performance.now()
    const after = process.memoryUsage()
    await lease.release()
    const again = performance.now()
    await (await limiter.acquire({ key: 'cold', limit: 1 })).release()
    const warm = performance.now() - again
    await limiter.close()
    console.log(JSON.stringify({
      'require ms': required - start,
      'first Limiter ms': opened - required,
      'first acquire ms': acquired - opened,
      'all three ms': acquired - start,
      'a later acquire and release ms': warm,
      'memory added MiB': (after.rss - before.rss) / 2 ** 20,
      'of it JavaScript heap MiB': (after.heapUsed - before.heapUsed) / 2 ** 20,
    }))
  })`

function once(server) {
  const env = { ...process.env, SERVER: server, NAPI_RS_NATIVE_LIBRARY_PATH: resolve(root, binary) }
  return JSON.parse(execFileSync(process.execPath, ['-e', program], { cwd: root, env, encoding: 'utf8' }))
}

function measure(server) {
  const runs = Array.from({ length: Number(values.runs) + 1 }, () => once(server)).slice(1) // the first fills the page cache
  const names = Object.keys(runs[0])
  return Object.fromEntries(
    names.map((name) => {
      const figures = runs.map((run) => run[name])
      return [name, { best: Math.min(...figures), median: quantile(figures, 0.5) }]
    }),
  )
}

const sizeOf = (path) => {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.size
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}

const redis = await startRedis()
const results = {}
try {
  for (const [name, server] of Object.entries({ 'memory:': 'memory:', Redis: redis.url }))
    results[name] = measure(server)
} finally {
  await redis.stop()
}
results['size on disk MiB'] = {
  binary: sizeOf(resolve(root, binary)) / 2 ** 20,
  JavaScript: ['index.js', 'native.js', 'lib'].reduce((sum, name) => sum + sizeOf(join(root, name)), 0) / 2 ** 20,
}
for (const [name, figures] of Object.entries(results)) {
  console.log(`\n${name}`)
  for (const [what, figure] of Object.entries(figures)) {
    const text =
      typeof figure === 'number' ? figure.toFixed(2) : `${figure.median.toFixed(2)} (best ${figure.best.toFixed(2)})`
    console.log(`  ${what}: ${text}`)
  }
}
if (values.json) writeFileSync(values.json, JSON.stringify(results, null, 2))
