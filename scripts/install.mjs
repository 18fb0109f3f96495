/**
 * Installs node_modules from package-lock.json when it does not match it.
 *
 * npm leaves a lockfile of its own inside node_modules when an installation has finished, and only
 * then. Comparing it with package-lock.json also recognises an installation made by hand, one that was
 * interrupted, one without the development dependencies, and one copied from another platform. (A
 * stamp of our own would know only our own installations, and `npm ci` starts by deleting everything.)
 *
 * Install scripts are skipped: every native package here ships prebuilt binaries for the usual
 * platforms, and nothing that is downloaded runs before it is imported.
 */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Returns 'fresh' or 'installed'; throws when npm fails. */
export function installIfNeeded() {
  const locked = readLock(join(root, 'package-lock.json'))
  const missing = missingPackages(locked, readLock(join(root, 'node_modules/.package-lock.json')))
  if (missing.length === 0) return 'fresh'
  console.error(`Installing dependencies from package-lock.json (${missing.length} missing) …`)
  // Development dependencies hold the compiler: NODE_ENV=production must not leave them out.
  const { command, parameters } = npm(['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund'])
  const { status, error } = spawnSync(command, parameters, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32' && command === 'npm',
  })
  if (error !== undefined || status !== 0) {
    throw new Error(`npm ci failed (${error?.message ?? `exit code ${status}`}); its output is above`)
  }
  return 'installed'
}

/**
 * The packages that `locked` wants on this platform and that `installed` has not, or in another version.
 * @param {{ os: string, cpu: string, libc?: string | undefined }} platform
 */
export function missingPackages(locked, installed, platform = currentPlatform()) {
  return Object.entries(locked)
    .filter(([path, entry]) => path !== '' && installed[path]?.version !== entry.version)
    .filter(([path, entry]) => path in installed || isWanted(entry, platform))
    .map(([path]) => path)
}

function isWanted(entry, platform) {
  if (entry.optional !== true) return true
  // npm leaves out what is optional and fits no listed platform; only what names ours is surely wanted.
  if (entry.os === undefined || entry.cpu === undefined) return false
  const libcFits = entry.libc === undefined || entry.libc.includes(platform.libc)
  return entry.os.includes(platform.os) && entry.cpu.includes(platform.cpu) && libcFits
}

function currentPlatform() {
  const isLinux = process.platform === 'linux'
  const isGlibc = isLinux && process.report.getReport().header.glibcVersionRuntime !== undefined
  return { os: process.platform, cpu: process.arch, libc: isGlibc ? 'glibc' : isLinux ? 'musl' : undefined }
}

function readLock(file) {
  if (!fs.existsSync(file)) return {}
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).packages ?? {}
  } catch (error) {
    if (error instanceof SyntaxError) return {} // A half-written file: what it lists is not installed.
    throw error
  }
}

/** The npm that runs us, when one does: it need not be on the PATH. */
function npm(parameters) {
  const running = process.env.npm_execpath
  if (running?.endsWith('npm-cli.js'))
    return { command: process.execPath, parameters: [running, ...parameters] }
  return { command: 'npm', parameters }
}
