/**
 * `npm start`: installs what is missing, builds what is stale, and runs the server, on a machine that
 * has only Node and npm. When there is nothing to install or build it adds about 50 ms.
 *
 * The server runs in this process rather than in a child: signals, the exit code and the environment
 * are its own, and kill -9 of this process kills the server, not a parent of it. Above it is npm: the
 * script is `exec node …`, because the shell that npm starts passes no signal on and would leave the
 * server behind. When npm itself is killed with -9, the server ends as for SIGTERM.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildIfStale, root } from './build.mjs'
import { installIfNeeded } from './install.mjs'
import { requireNode } from './node-version.mjs'

requireNode()
try {
  installIfNeeded()
  if (buildIfStale() === 'errors') throw new Error('the sources have type errors; they are listed above')
} catch (error) {
  console.error(`npm start: ${error.message}`)
  process.exit(1)
}
endWithNpm()
const main = join(root, 'dist/server/main.js')
process.argv[1] = main
await import(pathToFileURL(main).href)

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
