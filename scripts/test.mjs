/**
 * `npm test`: everything that must hold, on a machine that has only Node and npm. In this order, and
 * stopping at the first that fails:
 *
 *   install    node_modules as package-lock.json says         (install.mjs)
 *   build      dist/, which spawned servers and workers run   (build.mjs), the database that views
 *                                                              begin with (build-database.mjs), and the pages (build-browser.mjs)
 *   programs   redis-server, PostgreSQL, Chromium             (programs.mjs, with the variables)
 *   lint       Biome: format, import order, lint
 *   types      tsc for the sources, the tests, core without Node's types, and the editor
 *   tests      every Vitest test, or those named after `--`: npm test -- test/architecture.test.ts
 *
 * In the environment: TEST_REDIS_URL and TEST_DATABASE_URL name servers to use in place of programs;
 * TIDEMARK_TEST_RESULTS names a file for Vitest's results as JSON, which .ci/run counts.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { buildIfStale, root } from './build.mjs'
import { buildBrowserIfStale } from './build-browser.mjs'
import { buildDatabaseIfStale } from './build-database.mjs'
import { installIfNeeded } from './install.mjs'
import { requireNode } from './node-version.mjs'
import { providePrograms } from './programs.mjs'

const stages = {
  install: installIfNeeded,
  // Type errors are told by the stage `types`, in the order a reader expects.
  build: async () => {
    buildIfStale()
    await buildDatabaseIfStale()
    await buildBrowserIfStale()
  },
  programs: () => Object.assign(process.env, providePrograms()),
  lint: () => run('@biomejs/biome/bin/biome', ['ci', '--error-on-warnings', ...plainColours(), '.']),
  types: () => {
    for (const project of [
      'tsconfig.json',
      'tsconfig.test.json',
      'core/tsconfig.json',
      'examples/editor/tsconfig.json',
      'examples/market/tsconfig.json',
    ]) {
      run('typescript/bin/tsc', ['-p', project, '--noEmit'])
    }
  },
  tests: () => run('vitest/vitest.mjs', ['run', ...reporters(), ...process.argv.slice(2)]),
}

requireNode()
for (const [name, stage] of Object.entries(stages)) {
  const startedAtMs = performance.now()
  const elapsed = () => `${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`
  console.log(`\n── ${name}`)
  try {
    await stage()
    console.log(`── ${name}: passed in ${elapsed()}`)
  } catch (error) {
    console.error(`── ${name}: FAILED after ${elapsed()}: ${error.message}`)
    process.exit(1)
  }
}

function run(program, parameters) {
  const { status, signal, error } = spawnSync(
    process.execPath,
    [join(root, 'node_modules', program), ...parameters],
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  )
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(signal === null ? `exit code ${status}` : `ended by ${signal}`)
}

function reporters() {
  const results = process.env.TIDEMARK_TEST_RESULTS
  return results ? ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`] : []
}

/** Biome colours its output even where nobody sees colours. */
function plainColours() {
  return process.stdout.isTTY && process.env.NO_COLOR === undefined ? [] : ['--colors=off']
}
