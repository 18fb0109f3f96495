/**
 * `npm run bench:peers -- [question…] [--runs 2] [--quick] [--servers a,b] [--tell]`
 *
 * The same load on Tidemark and on what people would otherwise pick, each at its released version, in its own process, with persistence on,
 * interleaved with a raw server. Peers are packages of their own (bench/peers), which this installs.
 *
 * Each question's results are in bench/results/peers-<question>.json as soon as it is asked. A full run then draws the charts and writes
 * the page's tables (peers-tables.ts); a quick one only prints them, to be told with `--tell`, which alone, without a question, asks nothing.
 * Each server that is asked is told, with about how long everything takes yet. A question or a server that fails is told, and the others go
 * on. Exit code 1 when something of Tidemark failed.
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
import { TimeLeft } from './harness/time-left.ts'
import { idle } from './idle.ts'
import { joinLargeBesidePeers } from './join-large.ts'
import { offlineReturn } from './offline-return.ts'
import { tellComparisons } from './peers-tables.ts'
import { presenceOfQuietClients } from './presence.ts'
import { stored } from './stored.ts'
import { viewsLatency } from './views-latency.ts'

const once =
  (ask: Question): Question =>
  (settings) =>
    ask({ ...settings, runs: 1 })

interface Asked {
  readonly ask: Question
  /** About what it takes of all servers on two cores: once, and each run; each quick run. */
  readonly seconds: readonly [once: number, run: number, quickRun: number]
}

const questions: Readonly<Record<string, Asked>> = {
  'fan-out': {
    ask: async (settings) => [
      await fanOutTo('fan-out', settings, false, ({ automergePath }) =>
        automergePath === undefined ? [32, 512, 4096] : [32, 256],
      ),
    ],
    seconds: [0, 105, 71],
  },
  'fan-out-1500': { ask: fanOutTo1500, seconds: [0, 140, 104] },
  documents: {
    // automerge-repo's server passes on what changed every 100 ms: more on their way would only wait.
    ask: documentsAt(({ automergePath }) => (automergePath === undefined ? [2, 8, 32] : [1, 4])),
    seconds: [0, 226, 165],
  },
  idle: { ask: idle, seconds: [0, 91, 91] },
  presence: { ask: presenceOfQuietClients, seconds: [0, 118, 82] },
  'join-large': { ask: joinLargeBesidePeers, seconds: [80, 160, 128] },
  'offline-return': { ask: offlineReturn, seconds: [0, 32, 32] },
  durability: { ask: durability, seconds: [0, 153, 81] },
  // Bytes are the same in each run, or nearly.
  stored: { ask: once(stored), seconds: [200, 0, 83] },
  // Ours alone, and asked more often by `npm run bench`.
  'edit-to-row': { ask: once(viewsLatency), seconds: [120, 0, 46] },
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
const runs = Number(values.runs ?? (values.quick ? 1 : 2))
if (!Number.isInteger(runs) || runs < 1) usage(`--runs is a number from 1, not ${values.runs}`)
const onlyTells = values.tell && positionals.length === 0
const asked = positionals.length > 0 ? positionals : onlyTells ? [] : Object.keys(questions)
for (const name of asked) if (questions[name] === undefined) usage(`unknown question ${name}`)

if (asked.length > 0 && !peersAreInstalled()) {
  process.stdout.write('Installing what is compared (bench/peers), which can take minutes…\n')
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: peersFolder, stdio: 'inherit' })
}

function expectedSeconds(name: string): number {
  const [onlyOnce, run, quickRun] = questions[name]!.seconds
  const ofAll = values.quick ? runs * quickRun : onlyOnce + runs * run
  return contestants === undefined ? ofAll : (ofAll * contestants.length) / compared.length
}

const temporaryDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
process.on('exit', () => rmSync(temporaryDir, { recursive: true, force: true }))
const timeLeft = new TimeLeft(asked.map(expectedSeconds))
const settings: Settings = {
  runs,
  quick: values.quick,
  contestants: contestants ?? compared,
  profileDir: null,
  temporaryDir,
  timeLeft,
}

let isBroken = false
for (const [i, name] of asked.entries()) {
  const from = performance.now()
  process.stdout.write(`\n# ${i + 1} of ${asked.length}: ${name}\n`)
  try {
    for (const answer of await questions[name]!.ask(settings)) {
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
  timeLeft.next()
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
