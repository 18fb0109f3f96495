/**
 * Builds dist/ from the TypeScript sources when it does not match them, with `tsc -p tsconfig.json`.
 *
 * - dist/.sources names the hash of the sources it was built from, so a checkout of older files, a
 *   deleted file or a copied folder is noticed, which modification times would miss. A hash of every
 *   source takes a few milliseconds.
 * - The compiler writes into a folder beside dist/, and each file that differs is renamed into place:
 *   a server or a test that runs meanwhile never reads half a file, and two builds at once are safe.
 *   (`tsc` straight into dist/ truncates each file before it writes it.)
 * - Output whose source is gone is removed, last.
 *
 * Needs only Node and the installed compiler. `npm run build` runs this file, and after it build-database.mjs and
 * build-browser.mjs, which keep their part of dist/ by themselves.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, 'dist')
const stamp = join(dist, '.sources')

/**
 * Returns 'fresh' when there was nothing to do, 'built', or 'errors' when the sources have type
 * errors: the output is in place all the same, but is not taken for fresh the next time.
 */
export function buildIfStale() {
  const hash = hashSources()
  if (readOrEmpty(stamp) === hash) return 'fresh'
  const output = fs.mkdtempSync(join(root, '.build-'))
  try {
    const compiled = compile(output)
    install(output)
    removeOrphans(output)
    if (!compiled) fs.rmSync(stamp, { force: true })
    else fs.writeFileSync(stamp, hash)
    return compiled ? 'built' : 'errors'
  } finally {
    fs.rmSync(output, { recursive: true, force: true })
  }
}

function compile(output) {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  if (!fs.existsSync(compiler)) throw new Error('the compiler is not installed; run npm ci')
  const options = ['-p', 'tsconfig.json', '--outDir', output, '--incremental', 'false']
  const { status, error } = spawnSync(process.execPath, [compiler, ...options], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (error !== undefined) throw error
  return status === 0
}

function install(output) {
  for (const file of filesUnder(output)) {
    const target = join(dist, relative(output, file))
    if (readOrEmpty(target) === fs.readFileSync(file, 'utf8')) continue
    fs.mkdirSync(dirname(target), { recursive: true })
    fs.renameSync(file, target)
  }
}

function removeOrphans(output) {
  for (const file of filesUnder(dist)) {
    if (relative(dist, file).startsWith('examples')) continue
    const source = join(root, relative(dist, file).replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts'))
    const isOutput = /\.(js|d\.ts)(\.map)?$/.test(file)
    if (isOutput && !fs.existsSync(source) && !fs.existsSync(join(output, relative(dist, file)))) {
      fs.rmSync(file, { force: true })
    }
  }
}

function hashSources() {
  const { include } = JSON.parse(fs.readFileSync(join(root, 'tsconfig.json'), 'utf8'))
  const files = include
    .flatMap((folder) => filesUnder(join(root, folder)))
    .filter((file) => file.endsWith('.ts'))
  return hashOf([...files, join(root, 'tsconfig.json'), join(root, 'package-lock.json')])
}

/** Of names and contents. */
export function hashOf(files) {
  const hash = createHash('sha256')
  for (const file of files.sort()) {
    hash
      .update(`${relative(root, file)}\0`)
      .update(fs.readFileSync(file))
      .update('\0')
  }
  return hash.digest('hex')
}

export function filesUnder(folder) {
  if (!fs.existsSync(folder)) return []
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
}

function readOrEmpty(file) {
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const result = buildIfStale()
  if (result === 'errors') {
    console.error('build: the sources have type errors')
    process.exitCode = 1
  }
  for (const name of ['build-database.mjs', 'build-browser.mjs']) {
    const script = join(root, 'scripts', name)
    const { status } = spawnSync(process.execPath, [script], { cwd: root, stdio: ['ignore', 2, 2] })
    if (status !== 0) process.exitCode = 1
  }
}
