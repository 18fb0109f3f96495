/**
 * `npm run bench:peers -- [question…] [--runs 3] [--quick] [--servers a,b]`
 *
 * The same load on Tidemark and on what people would otherwise pick, each at its released version, in its own process, with
 * persistence on, interleaved with a raw `ws` server. `automerge-repo` has loads of its own: its clients speak of other documents. Peers are packages of their own (bench/peers), which `npm run bench:peers` installs.
 * Prints a table for each question and writes bench/results/peers-<question>.json, and charts to docs/images. What a peer cannot do is told, and is no error.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { automergeRepo } from './automerge-repo.ts'
import { documents } from './documents.ts'
import { durability } from './durability.ts'
import { fanOutTo } from './fan-out.ts'
import { fanOutPaced } from './fan-out-paced.ts'
import type { Question, Settings } from './harness/question.ts'
import { printAnswer, writeAnswer } from './harness/report.ts'
import { root } from './harness/root.ts'
import { peersAreInstalled, type ServerName, servers } from './harness/servers.ts'
import { idle } from './idle.ts'
import { joinLarge } from './join-large.ts'
import { offlineReturn } from './offline-return.ts'
import { drawPeers } from './peers-charts.ts'
import { presence } from './presence.ts'
import { stored } from './stored.ts'

const questions: Readonly<Record<string, Question>> = {
  'fan-out': async (settings) => [await fanOutTo('fan-out', settings, false)],
  'fan-out-paced': fanOutPaced,
  documents,
  idle,
  presence,
  'join-large': joinLarge,
  'offline-return': offlineReturn,
  durability,
  stored,
  'automerge-repo': automergeRepo,
}

const compared: readonly ServerName[] = [
  'embedded',
  'embedded-hocuspocus',
  'redis-everysec',
  'y-websocket-leveldb',
  'hocuspocus-sqlite',
  'hocuspocus-redis',
]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    quick: { type: 'boolean', default: false },
    servers: { type: 'string' },
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
const asked = positionals.length > 0 ? positionals : Object.keys(questions)
for (const name of asked) if (questions[name] === undefined) usage(`unknown question ${name}`)

if (!peersAreInstalled()) {
  process.stdout.write('Installing what is compared (bench/peers), which can take minutes…\n')
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: `${root}bench/peers`, stdio: 'inherit' })
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
for (const name of asked)
  for (const answer of await questions[name]!(settings)) {
    // Those that were set for the relay are judged by `npm run bench`.
    const compared = { ...answer, question: `peers-${answer.question}`, verdicts: [] }
    printAnswer(compared)
    writeAnswer(compared, settings)
    if (!values.quick) drawPeers(compared)
  }
