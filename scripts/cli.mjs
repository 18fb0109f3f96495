/**
 * `npm run tidemark -- import …`: the command line of a checkout, built first when it is stale. Where the package is installed it is
 * the program `tidemark`.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildIfStale, root } from './build.mjs'
import { requireNode } from './node-version.mjs'

requireNode()
if (buildIfStale() === 'errors') {
  console.error('tidemark: the sources have type errors; they are listed above')
  process.exit(2)
}
await import(pathToFileURL(join(root, 'dist/cli/main.js')).href)
