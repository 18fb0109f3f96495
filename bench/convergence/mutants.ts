/**
 * Breaks the product in known ways, and demands that histories notice. Each mutant is a change to the sources of a copy of the
 * checkout, which is built and played against there; a change that does not fit the sources any more is an error, not a pass.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EngineName } from './clients/engine.ts'
import type { ProfileName } from './profiles.ts'
import { root } from './program.ts'
import type { Regression } from './regressions.ts'
import type { WorldName } from './world.ts'

interface Change {
  readonly file: string
  /** Is there exactly once. */
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly name: string
  /** What it breaks. */
  readonly promise: string
  readonly world: WorldName
  readonly profile: ProfileName
  readonly engine: EngineName
  /** The history that shows it, of those that went wrong once; absent: whichever does. */
  readonly regression?: string
  readonly changes: readonly Change[]
}

export interface Caught {
  readonly mutant: string
  readonly promise: string
  /** Null: nobody noticed. */
  readonly seed: number | null
  readonly histories: number
  readonly seconds: number
  readonly why: string
  readonly steps: number
}

const firstSeed = 1
const runsMax = 60
const replaysMax = 3
const appends = 'server/log/lmdb/appends.ts'

export const mutants: readonly Mutant[] = [
  {
    name: 'fan-out before append',
    promise: 'P1: nobody sees what is not durable',
    world: 'embedded',
    profile: 'hostile',
    engine: 'yjs',
    changes: [
      {
        file: appends,
        find: '    group.waiters.push({ appended, resolve, reject })\n',
        replace: `    group.waiters.push({ appended, resolve, reject })
    const early = entries.flatMap((entry, i) => (appended[i]!.duplicate ? [] : [placed(entry, appended[i]!.offset)]))
    if (early.length > 0) for (const feed of [...state.feeds]) feed.deliver(early)
`,
      },
      {
        file: appends,
        find: '      if (state.feeds.length === 0) continue\n',
        replace: '      if (told.length >= 0) continue\n',
      },
    ],
  },
  {
    name: 'ack before flush',
    promise: 'P1: what is acknowledged survives a kill',
    world: 'embedded',
    profile: 'hostile',
    engine: 'yjs',
    changes: [
      {
        file: appends,
        find: '    group.waiters.push({ appended, resolve, reject })\n',
        replace: '    resolve(appended)\n    group.waiters.push({ appended, resolve, reject })\n',
      },
    ],
  },
  {
    name: 'compaction drops its last entry',
    promise: 'P3: compaction never loses an update',
    world: 'embedded',
    profile: 'hostile',
    engine: 'yjs',
    changes: [
      {
        file: 'server/compaction/compactor.ts',
        find: 'const updates = [...before, ...entries.map((entry) => entry.update)]',
        replace: 'const updates = [...before, ...entries.slice(0, -1).map((entry) => entry.update)]',
      },
    ],
  },
  {
    name: 'rows without their offset',
    promise: 'P5: rows and offset change in one transaction',
    world: 'views',
    profile: 'office',
    engine: 'yjs',
    changes: [
      {
        file: 'server/views/store/writer.ts',
        find: '...progressOf(batch), byIndex]',
        replace: 'byIndex]',
      },
      {
        file: 'server/views/store/writer.ts',
        find: '    const counts = results.slice(',
        replace: '    await this.sql.batch(progressOf(batch))\n    const counts = results.slice(',
      },
    ],
  },
  {
    name: 'fold in order of arrival',
    promise: 'P4: the same facts fold to the same, in any order',
    world: 'embedded',
    profile: 'mobile',
    engine: 'yjs',
    changes: [
      {
        file: 'core/domain/fold/entity-fold.ts',
        find: 'if (unplaced.length === 0 && (last === undefined || compareFacts(last, fact) < 0)) facts.push(fact)',
        replace: 'if (unplaced.length === 0 || last === undefined) facts.push(fact)',
      },
    ],
  },
  {
    name: 'dedupe off',
    promise: 'P2: a retried push is appended once',
    world: 'embedded',
    profile: 'hostile',
    engine: 'yjs',
    changes: [
      {
        file: appends,
        find: 'if (key.sequence <= replica.sequence) {',
        replace: 'if (key.sequence < 0) {',
      },
      {
        file: 'server/room/submits.ts',
        find: '    if (coverage.covers(outline)) return false\n',
        replace: '',
      },
    ],
  },
  {
    name: 'resync skips one',
    promise: 'P2: who comes back gets all that it missed',
    world: 'redis',
    profile: 'hostile',
    engine: 'yjs',
    changes: [
      {
        file: 'server/room/catch-up.ts',
        find: "  return { kind: 'entries', entries, offset }\n}\n\n/**\n * What a session",
        replace:
          "  return { kind: 'entries', entries: entries.slice(1), offset }\n}\n\n/**\n * What a session",
      },
    ],
  },
  {
    name: 'joiners lack the latest change',
    promise: 'P2: who joins has what everybody has',
    world: 'embedded',
    profile: 'office',
    engine: 'automerge',
    changes: [
      {
        file: 'core/engine/automerge/change-graph.ts',
        find: 'for (let number = this.snapshotCount; number < marks.length; number++)',
        replace: 'for (let number = this.snapshotCount; number < marks.length - 1; number++)',
      },
    ],
  },
  {
    name: 'heads before append',
    promise: 'P1: peers are told no heads that are not durable',
    world: 'embedded',
    profile: 'hostile',
    engine: 'automerge',
    changes: [
      {
        file: 'server/room/submits.ts',
        find: '    from.taken(bytes.length)\n',
        replace: '    from.taken(bytes.length)\n    coverage.add(outline)\n',
      },
      {
        file: 'server/gateway/automerge-sync.ts',
        find: 'if (this.room.submit(this.session, update, true)) this.underWay++\n',
        replace: `if (this.room.submit(this.session, update, true)) {
      this.underWay++
      if (this.session.state === 'live') this.session.writeAll(this.dialect.sync([]), Date.now())
    }
`,
      },
    ],
  },
  {
    name: 'too early is refused',
    promise: 'A provider that edited before its handshake is not sent away',
    world: 'views',
    profile: 'mobile',
    engine: 'yjs',
    regression: 'fact-sent-before-the-handshake',
    changes: [
      {
        file: 'server/gateway/hocuspocus-sync.ts',
        find: 'if (error instanceof TooEarly && early.keeps) {',
        replace: 'if (error instanceof TooEarly && early.keeps && weight !== null) {',
      },
    ],
  },
]

/** Gives the exit code. */
export async function catchMutants(only: string | null): Promise<number> {
  const chosen = mutants.filter(({ name }) => only === null || name.includes(only))
  const all: Caught[] = []
  for (const mutant of chosen) {
    const caught = await catchMutant(mutant)
    all.push(caught)
    const { seed, histories, seconds, why } = caught
    process.stdout.write(
      seed === null
        ? `${mutant.name}: NOT NOTICED in ${histories} histories\n`
        : `${mutant.name}: noticed with seed ${seed}, after ${histories} histories and ${seconds} s: ${why}\n`,
    )
  }
  if (only === null) {
    const folder = join(root, 'docs/convergence')
    fs.mkdirSync(folder, { recursive: true })
    fs.writeFileSync(join(folder, 'mutants.json'), `${JSON.stringify(all, null, 2)}\n`)
  }
  return all.length > 0 && all.every(({ seed }) => seed !== null) ? 0 : 1
}

async function catchMutant(mutant: Mutant): Promise<Caught> {
  const folder = fs.mkdtempSync(join(tmpdir(), 'tidemark-mutant-'))
  try {
    copyTo(folder)
    for (const change of mutant.changes) apply(folder, change)
    await command(
      folder,
      ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--incremental', 'false'],
      [0],
    )
    const { world, profile, engine, name, promise, regression } = mutant
    const startedMs = performance.now()
    if (regression !== undefined) return await caughtBy(regression, mutant, folder)
    const asked = [
      '--world',
      world,
      '--profile',
      profile,
      '--engine',
      engine,
      '--seed',
      String(firstSeed),
      '--runs',
      String(runsMax),
    ]
    const main = 'dist/bench/convergence/main.js'
    const { code } = await command(folder, [main, ...asked, '--no-shrink'], [0, 1])
    const seconds = Math.round((performance.now() - startedMs) / 1000)
    if (code === 0)
      return { mutant: name, promise, seed: null, histories: runsMax, seconds, why: '', steps: 0 }
    const saved = join(folder, 'bench/convergence/regressions')
    const [file] = fs.readdirSync(saved)
    const found = JSON.parse(fs.readFileSync(join(saved, file!), 'utf8')) as Regression
    const { seed, why, history } = found
    return {
      mutant: name,
      promise,
      seed,
      histories: seed - firstSeed + 1,
      seconds,
      why,
      steps: history.steps.length,
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

async function caughtBy(regression: string, { name, promise }: Mutant, folder: string): Promise<Caught> {
  const path = join(root, 'bench/convergence/regressions', `${regression}.json`)
  const { seed, history } = JSON.parse(fs.readFileSync(path, 'utf8')) as Regression
  const startedMs = performance.now()
  const replayed = ['dist/bench/convergence/main.js', '--replay', path, '--runs', String(replaysMax)]
  const { code, output } = await command(folder, replayed, [0, 1])
  return {
    mutant: name,
    promise,
    seed: code === 0 ? null : seed,
    histories: code === 0 ? replaysMax : output.split('all is well').length,
    seconds: Math.round((performance.now() - startedMs) / 1000),
    why: code === 0 ? '' : (output.trim().split('\n').at(-1) ?? ''),
    steps: history.steps.length,
  }
}

function copyTo(folder: string): void {
  for (const name of [
    'core',
    'client',
    'server',
    'bench',
    'scripts',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
  ])
    fs.cpSync(join(root, name), join(folder, name), { recursive: true })
  fs.rmSync(join(folder, 'bench/convergence/regressions'), { recursive: true, force: true })
  fs.symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
}

function apply(folder: string, { file, find, replace }: Change): void {
  const path = join(folder, file)
  const text = fs.readFileSync(path, 'utf8')
  const count = text.split(find).length - 1
  if (count !== 1) throw new Error(`${file} has ${count} times what a mutant changes: ${find.trim()}`)
  fs.writeFileSync(
    path,
    text.replace(find, () => replace),
  )
}

/** Rejects with what it printed unless it ends with one of the codes. */
async function command(
  folder: string,
  args: readonly string[],
  codes: readonly number[],
): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      output = (output + bytes.toString()).slice(-10_000)
    })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code === null || !codes.includes(code))
    throw new Error(`${args.join(' ')} ended with ${code}\n${output}`)
  return { code, output }
}
