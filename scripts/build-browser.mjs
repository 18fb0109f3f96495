/**
 * Builds what runs in browsers, when it does not match its sources:
 *
 * - the client as an app would bundle it, which is thrown away again: it must import nothing of Node, and without Yjs (yjs, lib0 and
 *   y-protocols, which the bindings of editors need anyway) be at most `clientBytesMax` bytes after gzip -9. What it loads only
 *   when it is asked for (queries) is measured with all that it needs, what the client has already included;
 * - examples/editor and examples/market, with Vite, into dist/examples/…, from where the relay serves them.
 *
 * dist/examples/editor/.sources names the hash of the sources, as for the rest of dist/ (build.mjs), and so for the market. It is removed
 * first and written last: the relay serves the pages only while it is there. Files are renamed into place, so nobody reads half of one.
 *
 * Slower than the compiler, and nothing but the pages needs it: `npm start` runs it beside the relay, in a process of its own.
 */
import * as fs from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { filesUnder, hashOf, root } from './build.mjs'

const clientBytesMax = 15_000
/** With the folders beside `client` and `core` that each is made of. */
const examples = { editor: ['examples/editor'], market: ['examples/market', 'examples/editor'] }

/** Returns 'fresh', 'built', or 'absent' where there are no sources. Throws for what does not build, or is too large. */
export async function buildBrowserIfStale() {
  const names = Object.keys(examples).filter((name) => fs.existsSync(join(root, 'examples', name)))
  if (names.length === 0) return 'absent'
  const stale = names.filter((name) => !isFresh(name))
  if (stale.length === 0) return 'fresh'
  // Else a caller's `test` would make it a development build, several times as large.
  process.env.NODE_ENV = 'production'
  const { build } = await import('vite')
  console.error(await clientSize(build))
  for (const name of stale) await buildExample(build, name)
  return 'built'
}

const distOf = (name) => join(root, 'dist/examples', name)
const stampOf = (name) => join(distOf(name), '.sources')

function isFresh(name) {
  const stamp = stampOf(name)
  return fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === hashSources(name)
}

async function buildExample(build, name) {
  const hash = hashSources(name)
  const output = fs.mkdtempSync(join(root, '.build-'))
  try {
    const configFile = join(root, 'examples', name, 'vite.config.ts')
    await build({ configFile, build: { outDir: output }, logLevel: 'warn' })
    fs.rmSync(stampOf(name), { force: true })
    install(output, distOf(name))
    fs.writeFileSync(stampOf(name), hash)
  } finally {
    fs.rmSync(output, { recursive: true, force: true })
  }
}

/** One line that says the client's size; throws when it is too large or imports something of Node. */
async function clientSize(build) {
  const sizes = []
  const yjs = [/^yjs$/, /^lib0(\/|$)/]
  for (const external of [[...yjs, /^y-protocols\//], yjs, []])
    sizes.push(await sizeOf(build, 'client/index.ts', external))
  const [alone, withAwareness, withYjs] = sizes
  const live = await sizeOf(build, 'client/live.ts', yjs)
  const line =
    `client: ${alone} bytes gzipped without Yjs (at most ${clientBytesMax}), ` +
    `${withAwareness} with its awareness, ${withYjs} with all of it; live queries: at most ${live} more, when asked for`
  if (alone > clientBytesMax) throw new Error(`${line}: too large`)
  return line
}

/** Minified and gzipped. What a browser cannot load is an error, unless it is imported only when it is needed. */
async function sizeOf(build, entry, external) {
  const noNode = {
    name: 'no-node',
    enforce: 'pre',
    resolveId(name, importer, { kind }) {
      if (kind === 'dynamic-import') return { id: name, external: true }
      if (!isBuiltin(name) && name !== 'ws') return null
      throw new Error(`${relative(root, importer ?? entry)} imports ${name}, which no browser has`)
    },
  }
  const [{ output }] = await build({
    root,
    configFile: false,
    logLevel: 'error',
    plugins: [noNode],
    build: {
      write: false,
      // A library, or Vite would add its loader of styles to what is imported dynamically; but without white space, as in an app.
      lib: { entry: join(root, entry), formats: ['es'] },
      rollupOptions: { external, output: { minify: true } },
    },
  })
  return gzipSync(output[0].code, { level: 9 }).length
}

function install(output, dist) {
  const built = filesUnder(output).map((file) => relative(output, file))
  // The pages last: they name the others.
  for (const file of built.sort((a, b) => Number(a.endsWith('.html')) - Number(b.endsWith('.html')))) {
    fs.mkdirSync(dirname(join(dist, file)), { recursive: true })
    fs.renameSync(join(output, file), join(dist, file))
  }
  for (const file of filesUnder(dist)) {
    if (!built.includes(relative(dist, file))) fs.rmSync(file, { force: true })
  }
}

function hashSources(name) {
  const folders = [...examples[name], 'client', 'core']
  const files = folders.flatMap((folder) => filesUnder(join(root, folder)))
  return hashOf([...files, fileURLToPath(import.meta.url), join(root, 'package-lock.json')])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await buildBrowserIfStale()
  } catch (error) {
    console.error(`build: ${error.message}`)
    process.exitCode = 1
  }
}
