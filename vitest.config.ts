import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/seed-properties.ts'],
    // Processes, not threads: tests start servers, native modules and signal handlers of their own.
    pool: 'forks',
    // Each file may start a redis-server, a relay and load beside itself; two files fill two cores.
    maxWorkers: 2,
    // Deadlines only for what hangs: tests wait on conditions, and a loaded machine is slow.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    reporters: ['default'],
  },
})
