/**
 * `npm start`: installs what is missing, builds what is stale, and runs the server, on a machine that
 * has only Node and npm. When there is nothing to install or build it adds about 100 ms.
 *
 * The pages of the editor are built beside all that, by a process of their own: the server neither waits for them nor
 * fails with them. When both are there, the URL to open is printed.
 *
 * The server runs in this process rather than in a child: signals, the exit code and the environment
 * are its own, and kill -9 of this process kills the server, not a parent of it. Above it is npm: the
 * script is `exec node …`, because the shell that npm starts passes no signal on and would leave the
 * server behind. When npm itself is killed with -9, the server ends as for SIGTERM.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildIfStale, root } from './build.mjs'
import { installIfNeeded } from './install.mjs'
import { requireNode } from './node-version.mjs'

requireNode()
try {
  installIfNeeded()
} catch (error) {
  fail(error)
}
const pages = buildPages()
try {
  if (buildIfStale() === 'errors') throw new Error('the sources have type errors; they are listed above')
} catch (error) {
  fail(error)
}
endWithNpm()
const main = join(root, 'dist/server/main.js')
process.argv[1] = main
const { listening } = await import(pathToFileURL(main).href)
const [url, built] = await Promise.all([listening, pages])
if (url !== undefined && built && existsSync(join(root, 'dist/examples/editor/index.html')))
  console.error(`\n  The editor: ${openable(url)}/\n`)

function fail(error) {
  console.error(`npm start: ${error.message}`)
  process.exit(1)
}

/** Resolves with whether the pages are there. */
function buildPages() {
  const child = spawn(process.execPath, [join(root, 'scripts/build-browser.mjs')], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  process.once('exit', () => child.kill())
  child.unref()
  return new Promise((resolve) => {
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}

/** Listening on all addresses is not an address to open. */
function openable(url) {
  return url.replace(/\/\/(0\.0\.0\.0|\[::\])/, '//127.0.0.1')
}

function endWithNpm() {
  if (!process.env.npm_lifecycle_script?.endsWith('scripts/start.mjs')) return
  const npm = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === npm) return
    clearInterval(watch)
    process.kill(process.pid, 'SIGTERM')
  }, 200)
  watch.unref()
}
