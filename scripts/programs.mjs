/**
 * Finds the programs that the tests run and npm cannot install: redis-server, PostgreSQL, Chromium.
 *
 * Each is looked for as a path or folder in its own variable, on the PATH, then in the folders where
 * distributions and package managers put it. A program that is too old counts as missing, and says so.
 * A server given as a URL (TEST_REDIS_URL, TEST_DATABASE_URL) needs no program. What is missing is
 * installed with apt-get where that can be done unasked, as root on Debian or Ubuntu; elsewhere the
 * caller gets a message that names what to install. Nothing is skipped because it is missing.
 *
 * Exported to the tests, unless set already:
 *   TIDEMARK_TEST_REDIS_SERVER   path of redis-server
 *   TIDEMARK_TEST_POSTGRES_BIN   folder that holds initdb, postgres and pg_ctl
 *   TIDEMARK_TEST_CHROMIUM       path of a Chromium or Chrome
 */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'

const usualFolders = [
  '/usr/bin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/local/sbin',
  '/opt/homebrew/bin',
  '/snap/bin',
]

export const programs = [
  {
    label: 'Redis',
    variable: 'TIDEMARK_TEST_REDIS_SERVER',
    urlVariable: 'TEST_REDIS_URL',
    executables: ['redis-server'],
    folders: usualFolders,
    versionMin: 7,
    aptPackage: 'redis-server',
    toInstall:
      'Redis 7 or newer (`brew install redis`, or https://redis.io/docs/latest/operate/oss_and_stack/install)',
  },
  {
    label: 'PostgreSQL',
    variable: 'TIDEMARK_TEST_POSTGRES_BIN',
    urlVariable: 'TEST_DATABASE_URL',
    executables: ['initdb'],
    isFolder: true,
    folders: [
      '/usr/lib/postgresql/*/bin',
      '/usr/pgsql-*/bin',
      '/opt/homebrew/opt/postgresql*/bin',
      '/usr/local/opt/postgresql*/bin',
      '/Applications/Postgres.app/Contents/Versions/latest/bin',
      ...usualFolders,
    ],
    versionMin: 14,
    aptPackage: 'postgresql',
    toInstall: 'PostgreSQL 14 or newer (`brew install postgresql`, or https://www.postgresql.org/download)',
  },
  {
    label: 'Chromium',
    variable: 'TIDEMARK_TEST_CHROMIUM',
    executables: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    folders: [
      ...usualFolders,
      '/Applications/Google Chrome.app/Contents/MacOS',
      '/Applications/Chromium.app/Contents/MacOS',
    ],
    aptPackage: 'chromium',
    toInstall: 'Chromium or Google Chrome (https://www.google.com/chrome)',
  },
]

/**
 * The path (or, for PostgreSQL, the folder) of a program, or why there is none.
 * @returns {{ path?: string, reason?: string }}
 */
export function findProgram(program, environment = process.env) {
  const given = environment[program.variable]
  if (given) return checked(program, program.isFolder ? join(given, program.executables[0]) : given)
  const folders = [
    ...(environment.PATH ?? '').split(delimiter).filter(Boolean),
    ...program.folders.flatMap(expand),
  ]
  const results = folders
    .flatMap((folder) => program.executables.map((executable) => join(folder, executable)))
    .filter(isExecutable)
    .map((path) => checked(program, path))
  return (
    results.find((result) => result.path !== undefined) ??
    results[0] ?? { reason: `${program.label} was not found` }
  )
}

/** The environment to give to the tests; throws with the names of what could not be had. */
export function providePrograms(environment = process.env) {
  const isMissing = (program) =>
    !environment[program.urlVariable] && findProgram(program, environment).path === undefined
  const missing = programs.filter(isMissing)
  if (missing.length > 0 && canUseApt()) installWithApt(missing.map(({ aptPackage }) => aptPackage))
  const absent = programs.filter(isMissing)
  if (absent.length > 0) throw new Error(absent.map((program) => complaint(program, environment)).join('\n'))
  const provided = {}
  for (const program of programs) {
    const { path } = findProgram(program, environment)
    if (path !== undefined) provided[program.variable] = path
  }
  return provided
}

function complaint(program, environment) {
  const url = program.urlVariable === undefined ? '' : `, or ${program.urlVariable} to the URL of a server`
  return `${findProgram(program, environment).reason}. Install ${program.toInstall}; or set ${program.variable} to where it is${url}.`
}

function checked(program, path) {
  if (!isExecutable(path)) return { reason: `${program.variable} names ${path}, which is not a program` }
  // A link to initdb alone does not lie beside the other programs.
  const found = { path: program.isFolder ? dirname(fs.realpathSync(path)) : path }
  if (program.versionMin === undefined) return found
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  const version = /\d+/.exec(stdout?.replace(basename(path), '') ?? '')?.[0]
  if (version === undefined) return { reason: `${path} --version names no version` }
  if (Number(version) >= program.versionMin) return found
  return { reason: `${path} is ${program.label} ${version}, older than ${program.versionMin}` }
}

function isExecutable(path) {
  try {
    fs.accessSync(path, fs.constants.X_OK)
    return fs.statSync(path).isFile()
  } catch {
    return false // Whatever keeps us from running it, the next folder may have one that runs.
  }
}

/** Folders that match a pattern with one `*`, the highest version first. */
function expand(pattern) {
  const star = pattern.indexOf('*')
  if (star === -1) return [pattern]
  const parent = dirname(pattern.slice(0, star + 1))
  const [prefix, suffix] = [basename(pattern.slice(0, star + 1)).slice(0, -1), pattern.slice(star + 1)]
  if (!fs.existsSync(parent)) return []
  return fs
    .readdirSync(parent)
    .filter((name) => name.startsWith(prefix))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((name) => join(parent, name) + suffix)
}

function canUseApt() {
  if (process.getuid?.() !== 0 || !fs.existsSync('/etc/os-release')) return false
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(fs.readFileSync('/etc/os-release', 'utf8'))
}

function installWithApt(packages) {
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const parameters of [['update'], ['install', '-y', '--no-install-recommends', ...packages]]) {
    console.error(`apt-get ${parameters.join(' ')}`)
    const { status, error } = spawnSync('apt-get', parameters, { stdio: ['ignore', 2, 2], env: environment })
    // A failed update may still leave an index that knows the packages; a failed install is seen by the caller.
    if (status !== 0)
      console.error(`apt-get ${parameters[0]} failed: ${error?.message ?? `exit code ${status}`}`)
  }
}
