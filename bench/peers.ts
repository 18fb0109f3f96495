/**
 * `npm run bench:peers -- [question…] [--runs 3] [--quick] [--servers a,b] [--tell]`
 *
 * The same load on Tidemark and on what people would otherwise pick, each at its released version, in its own process, with persistence on,
 * interleaved with a raw server. Peers are packages of their own (bench/peers), which this installs.
 *
 * Each question's results are in bench/results/peers-<question>.json as soon as it is asked. A full run then draws the charts and writes
 * the page's tables (peers-tables.ts); a quick one only prints them, to be told with `--tell`, which alone, without a question, asks nothing.
 * A question or a server that fails is told, and the others go on. Exit code 1 when something of Tidemark failed.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { documentsAt } from './documents.ts'
import { durability } from './durability.ts'
import { fanOutTo } from './fan-out.ts'
import { fanOutTo1500 } from './fan-out-paced.ts'
import type { Question, Settings } from './harness/question.ts'
import { printAnswer, writeAnswer } from './harness/report.ts'
import { peersAreInstalled, peersFolder, type ServerName, servers, versionOf } from './harness/servers.ts'
import { idle } from './idle.ts'
import { joinLargeBesidePeers } from './join-large.ts'
import { offlineReturn } from './offline-return.ts'
import { tellComparisons } from './peers-tables.ts'
import { presenceOfQuietClients } from './presence.ts'
import { stored } from './stored.ts'
import { viewsLatency } from './views-latency.ts'

const questions: Readonly<Record<string, Question>> = {
  'fan-out': async (settings) => [
    await fanOutTo('fan-out', settings, false, ({ automergePath }) =>
      automergePath === undefined ? [32, 512, 4096] : [32, 256],
    ),
  ],
  'fan-out-1500': fanOutTo1500,
  // automerge-repo's server passes on what changed every 100 ms: more on their way would only wait.
  documents: documentsAt(({ automergePath }) => (automergePath === undefined ? [8, 32] : [4])),
  idle,
  presence: presenceOfQuietClients,
  'join-large': joinLargeBesidePeers,
  'offline-return': offlineReturn,
  durability,
  stored,
  'edit-to-row': viewsLatency,
}

const compared: readonly ServerName[] = [
  'embedded',
  'redis-everysec',
  'y-websocket-leveldb',
  'embedded-hocuspocus',
  'hocuspocus-sqlite',
  'hocuspocus-redis',
  'embedded-automerge',
  'automerge-repo',
]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    quick: { type: 'boolean', default: false },
    servers: { type: 'string' },
    tell: { type: 'boolean', default: false },
  },
})

function usage(why: string): never {
  process.stderr.write(
    `${why}\nquestions: ${Object.keys(questions).join(', ')}\nservers: ${servers.join(', ')}\n`,
  )
  process.exit(2)
}

const contestants = values.servers
  ?.split(',')
  .map((name) => servers.find((each) => each === name) ?? usage(`unknown server ${name}`))
const runs = Number(values.runs ?? (values.quick ? 1 : 3))
if (!Number.isInteger(runs) || runs < 1) usage(`--runs is a number from 1, not ${values.runs}`)
const onlyTells = values.tell && positionals.length === 0
const asked = positionals.length > 0 ? positionals : onlyTells ? [] : Object.keys(questions)
for (const name of asked) if (questions[name] === undefined) usage(`unknown question ${name}`)

if (asked.length > 0 && !peersAreInstalled()) {
  process.stdout.write('Installing what is compared (bench/peers), which can take minutes…\n')
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: peersFolder, stdio: 'inherit' })
}

const temporaryDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
process.on('exit', () => rmSync(temporaryDir, { recursive: true, force: true }))
const settings: Settings = {
  runs,
  quick: values.quick,
  contestants: contestants ?? compared,
  profileDir: null,
  temporaryDir,
}

let isBroken = false
for (const [i, name] of asked.entries()) {
  const from = performance.now()
  process.stdout.write(`\n# ${i + 1} of ${asked.length}: ${name}\n`)
  try {
    for (const answer of await questions[name]!(settings)) {
      // Targets that were set for the relay are judged by `npm run bench`.
      const besidePeers = { ...answer, question: `peers-${answer.question}`, verdicts: [] }
      printAnswer(besidePeers)
      writeAnswer(besidePeers, settings, versionsOf())
      isBroken ||= answer.samples.some(({ server, errors }) => errors.length > 0 && !isPeer(server))
    }
  } catch (error) {
    isBroken = true
    process.stdout.write(`\nERROR ${name} could not be asked: ${String(error)}\n`)
  }
  process.stdout.write(`\n(${name}: ${Math.round((performance.now() - from) / 1000)} s)\n`)
}
if (values.tell || (asked.length > 0 && !values.quick)) tellComparisons()
process.exit(isBroken ? 1 : 0)

function isPeer(server: string): boolean {
  return /^(raw|y-websocket|hocuspocus|automerge-repo)/.test(server)
}

function versionsOf(): Record<string, string> {
  const packages = ['y-websocket', 'y-leveldb', '@hocuspocus/server', '@automerge/automerge-repo']
  const [redis = 'unknown'] = /(?<=v=)[\d.]+/.exec(versionLine('redis-server')) ?? []
  return {
    ...Object.fromEntries(packages.map((name) => [name, versionOf(name, peersFolder)])),
    'redis-server': redis,
  }
}

function versionLine(program: string): string {
  try {
    return execFileSync(program, ['--version'], { encoding: 'utf8' })
  } catch {
    // Questions that need it say so.
    return ''
  }
}
