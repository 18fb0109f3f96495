/**
 * `npm run bench -- [question…] [--runs 5] [--quick] [--log embedded|redis|both] [--servers a,b] [--profile dir] [--tell]`
 *
 * Asks the questions one after the other, prints a table for each with what was aimed at, and writes
 * bench/results/<question>.json (`-quick` keeps its own). `--servers` names what to compare beside the
 * raw limits instead of the relay's logs; peers among them must be installed (peers.ts). `--profile`
 * leaves a CPU profile of each relay in that folder. `--tell`: a full run's figures go into docs/scaling.md. Ends by itself; exit code 1 when anything was lost
 * or broke. A missed target is no error: a machine may be slow.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { append } from './append.ts'
import { automergeJoin, automergeRepo } from './automerge-repo.ts'
import { b4 } from './b4.ts'
import { clientsReturn } from './clients-return.ts'
import { coldOpen } from './cold-open.ts'
import { costs } from './costs.ts'
import { decisions } from './decisions.ts'
import { documents } from './documents.ts'
import { durability } from './durability.ts'
import { fanOut } from './fan-out.ts'
import { fanOutPaced } from './fan-out-paced.ts'
import { fold } from './fold.ts'
import type { Question, Settings } from './harness/question.ts'
import { printAnswer, writeAnswer } from './harness/report.ts'
import { logNames, relayIsBuilt, type ServerName, servers } from './harness/servers.ts'
import { idle } from './idle.ts'
import { joinB4 } from './join-b4.ts'
import { joinLarge } from './join-large.ts'
import { nodes } from './nodes.ts'
import { offlineReturn } from './offline-return.ts'
import { paste } from './paste.ts'
import { presence } from './presence.ts'
import { reconnect } from './reconnect.ts'
import { tellScale } from './scale-tables.ts'
import { start } from './start.ts'
import { viewsFlat } from './views-flat.ts'
import { viewsLatency } from './views-latency.ts'
import { viewsRebuild } from './views-rebuild.ts'
import { viewsThroughput } from './views-throughput.ts'

const questions: Readonly<Record<string, Question>> = {
  'fan-out': fanOut,
  'fan-out-paced': fanOutPaced,
  documents,
  b4,
  'offline-return': offlineReturn,
  'clients-return': clientsReturn,
  reconnect,
  append,
  'join-large': joinLarge,
  'join-b4': joinB4,
  idle,
  presence,
  paste,
  durability,
  nodes,
  costs,
  'cold-open': coldOpen,
  'automerge-repo': automergeRepo,
  'automerge-join': automergeJoin,
  start,
  'views-latency': viewsLatency,
  'views-throughput': viewsThroughput,
  'views-flat': viewsFlat,
  decisions,
  'views-rebuild': viewsRebuild,
  fold,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    quick: { type: 'boolean', default: false },
    log: { type: 'string', default: 'both' },
    servers: { type: 'string' },
    profile: { type: 'string' },
    tell: { type: 'boolean', default: false },
  },
})

function usage(why: string): never {
  process.stderr.write(`${why}\nquestions: ${Object.keys(questions).join(', ')}\n`)
  process.exit(2)
}

function contestants(): readonly ServerName[] {
  if (values.servers !== undefined) {
    const names = values.servers.split(',').filter((name) => name !== '')
    return names.map((name) => servers.find((each) => each === name) ?? usage(`unknown server ${name}`))
  }
  if (!relayIsBuilt())
    usage('dist/server/main.js is missing: build first, or name other servers with --servers')
  switch (values.log) {
    case 'embedded':
      return ['embedded']
    case 'redis':
      return ['redis-everysec', 'redis-always']
    case 'both':
      return values.quick ? ['embedded', 'redis-everysec'] : logNames
    default:
      return usage(`--log is embedded, redis or both, not ${values.log}`)
  }
}

function runs(): number {
  const count = Number(values.runs ?? (values.quick ? 2 : 5))
  return Number.isInteger(count) && count > 0 ? count : usage(`--runs is a number from 1, not ${values.runs}`)
}

const asked = positionals.length > 0 ? positionals : Object.keys(questions)
for (const name of asked) if (questions[name] === undefined) usage(`unknown question ${name}`)

const temporaryDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
process.on('exit', () => rmSync(temporaryDir, { recursive: true, force: true }))
const profileDir = values.profile === undefined ? null : resolve(values.profile)
if (profileDir !== null) mkdirSync(profileDir, { recursive: true })
const settings: Settings = {
  runs: runs(),
  quick: values.quick,
  contestants: contestants(),
  profileDir,
  temporaryDir,
}

let broken = false
for (const name of asked)
  for (const answer of await questions[name]!(settings)) {
    printAnswer(answer)
    writeAnswer(answer, settings)
    broken ||= answer.samples.some((sample) => sample.errors.length > 0)
  }
if (values.tell && !values.quick && !broken) tellScale()
process.exit(broken ? 1 : 0)
