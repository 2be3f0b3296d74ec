// Bundles program.mjs with esbuild: node examples/bundle/build.mjs out.mjs
//
// The package stays external: it finds its binary, which no bundler can take in, beside itself in node_modules. So a
// bundle is deployed together with node_modules/concurrency-limit and node_modules/concurrency-limit-<platform>.
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

await build({
  entryPoints: [fileURLToPath(new URL('program.mjs', import.meta.url))],
  outfile: process.argv[2],
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  external: ['concurrency-limit'],
  logLevel: 'warning',
})
