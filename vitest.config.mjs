// One test file at a time: many start processes and redis-servers of their own and measure what those do.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['__test__/**/*.test.mjs'],
    // Those are for a binary as it is published, which test:package builds.
    exclude: process.env.RELEASE_BINARIES ? [] : ['__test__/release/**'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
