// One test file at a time, since many start processes and redis-servers of their own and measure what those do. Those
// that mostly wait for time-outs go two at a time, first.
import { defineConfig } from 'vitest/config'

const ALL = '__test__/**/*.test.mjs'
const PATIENT = [
  'connection/client',
  'connection/client-faults',
  'connection/client-busy',
  'connection/credentials',
  'connection/nat',
  'connection/proxies',
  'connection/settle',
  'connection/switch',
  'connection/tls-trust',
  'docs/examples',
  'faults/outage',
  'faults/standstill',
  'faults/words',
  'interface/errors',
  'leases/dropped',
  'leases/forgotten',
  'leases/unavailable',
].map((name) => `__test__/${name}.test.mjs`)
const ELSEWHERE = [
  // For a binary as it is published, which test:package builds.
  ...(process.env.RELEASE_BINARIES ? [] : ['__test__/release/**']),
  // For the runtimes that test:runtimes fetches.
  ...(process.env.RUNTIMES ? [] : ['__test__/runtimes/**']),
  // For a browser, which test:dashboard finds.
  ...(process.env.CHROMIUM ? [] : ['__test__/browser/**']),
]

export default defineConfig({
  test: {
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    projects: [
      { extends: true, test: { name: 'patient', include: PATIENT, maxWorkers: 2, sequence: { groupOrder: 0 } } },
      {
        extends: true,
        test: {
          name: 'alone',
          include: [ALL],
          exclude: [...PATIENT, ...ELSEWHERE],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
