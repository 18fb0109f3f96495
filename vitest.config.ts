import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/seed-properties.ts'],
    // Processes, not threads: tests start servers, native modules and signal handlers of their own.
    pool: 'forks',
    // For two cores: a file waits four tenths of its time, for processes, deadlines and disks.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    // Deadlines only for what hangs: tests wait on conditions, which say what did not come, and a loaded machine is slow.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // One race in 3,700 tests is not to keep a change out; it is told (scripts/count-results.mjs), and has to be found.
    retry: process.env['CI'] === undefined ? 0 : 1,
    teardownTimeout: 20_000,
    reporters: ['default'],
  },
})
