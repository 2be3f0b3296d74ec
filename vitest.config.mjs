// One test file at a time: many start processes and redis-servers of their own and measure what those do.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['__test__/**/*.test.mjs'],
    exclude: [
      // For a binary as it is published, which test:package builds.
      ...(process.env.RELEASE_BINARIES ? [] : ['__test__/release/**']),
      // For the runtimes that test:runtimes fetches.
      ...(process.env.RUNTIMES ? [] : ['__test__/runtimes/**']),
      // For a browser, which test:dashboard finds.
      ...(process.env.CHROMIUM ? [] : ['__test__/browser/**']),
    ],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
