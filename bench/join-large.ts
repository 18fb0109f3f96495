/**
 * What does a join cost when the document has 20 MB? A newcomer, 150 at once, somebody who lacks one update;
 * with nothing but a snapshot, and with 100 pending updates after it. Beside it: `ws` sending as many bytes.
 */
import { join } from 'node:path'
import {
  inTurns,
  interleave,
  judge,
  type Prepared,
  prepare,
  type Question,
  rowsOf,
  type Sample,
  type Settings,
  type Target,
  tellProgress,
} from './harness/question.ts'
import { automergeServers, logNames, type ServerName } from './harness/servers.ts'
import { largeRowCount, writeLargeDocument } from './load/large-document.ts'
import { writeLargeRepoDocument } from './load/repo/large-document.ts'
import type { JoinStep, WriteStep } from './load/spec.ts'

const document = 'bench-large'
const crowd = 150
const preparedAtOnce = 3
/** What the raw server sends instead of what a returning client lacks. */
const returningRawBytes = 300
const emptyVersion = 'AA=='

const cold = 'first after a restart'
const returningCold = 'lacks one update, first after a restart'
const fresh = 'newcomer'
const freshCrowd = `${crowd} newcomers at once`
const returning = 'lacks one update'
const freshPending = 'newcomer, 100 pending'
const freshCrowdPending = `${crowd} newcomers at once, 100 pending`
const returningPending = 'lacks one update, 100 pending'

const targets: readonly Target[] = [
  { figure: 'joinMs', bound: 'atMost', value: 150, names: [cold] },
  { figure: 'serverCpuMsPerJoin', bound: 'atMost', value: 50, names: [fresh, freshPending] },
  { figure: 'joinMs', raw: 'raw-bytes', bound: 'atMost', value: 3, names: [freshCrowd, freshCrowdPending] },
  { figure: 'residentAboveIdleBytes', bound: 'atMost', value: 100e6, names: [freshCrowd, freshCrowdPending] },
  {
    figure: 'serverCpuMsPerJoin',
    bound: 'atMost',
    value: 5,
    names: [returning, returningPending, returningCold],
  },
  {
    figure: 'bytesPerJoin',
    bound: 'atMost',
    value: 1000,
    names: [returning, returningPending, returningCold],
  },
]

export const joinLarge: Question = (settings) => askJoins(settings, largeRowCount, true)

/** Beside peers: a quarter of the document, since some take a minute for the crowd with all of it, and newcomers only. */
export const joinLargeBesidePeers: Question = (settings) =>
  askJoins(settings, Math.round(largeRowCount / (settings.quick ? 8 : 4)), false)

async function askJoins(settings: Settings, rowCount: number, asksReturning: boolean) {
  const updateFile = join(settings.temporaryDir, 'large')
  const pendingFile = join(settings.temporaryDir, 'large-pending')
  const large = writeLargeDocument(updateFile, pendingFile, rowCount)
  const repo = settings.contestants.some((name) => automergeServers.includes(name))
    ? writeLargeRepoDocument(join(settings.temporaryDir, 'large-repo'), rowCount)
    : null
  const ofRepo = (name: ServerName) => (repo !== null && automergeServers.includes(name) ? { repo } : {})
  const step = (name: string, joiners: number, times: number, version: string): JoinStep => ({
    kind: 'join',
    name,
    joiners,
    times,
    version,
    rawBytes: version === emptyVersion ? large.bytes : returningRawBytes,
  })
  const write: WriteStep = { kind: 'write', updatesFile: pendingFile, version: large.version }
  const times = !asksReturning ? 3 : settings.quick ? 5 : 10
  const ifReturning = (returns: JoinStep): JoinStep[] => (asksReturning ? [returns] : [])
  const steps = [
    step(cold, 1, 1, emptyVersion),
    step(fresh, 1, times, emptyVersion),
    step(freshCrowd, crowd, 1, emptyVersion),
    ...ifReturning(step(returning, 1, times * 4, large.lacking)),
    write,
    step(freshPending, 1, times, emptyVersion),
    step(freshCrowdPending, crowd, 1, emptyVersion),
    ...ifReturning(step(returningPending, 1, times * 4, large.pendingLacking)),
  ]
  const prepared = new Map<ServerName, Prepared>()
  const failed: Sample[] = []
  const prepareOne = async (name: ServerName) => {
    tellProgress(settings, `prepare ${name}`)
    await prepare(name, {}, (server) => ({
      ...server,
      ...ofRepo(name),
      kind: 'store',
      document,
      updateFile,
    })).then(
      (done) => prepared.set(name, done),
      (error: unknown) =>
        failed.push({ run: 0, server: name, name: '', figures: {}, errors: [String(error)] }),
    )
  }
  try {
    // Nothing is measured yet, and most of it is waiting.
    await inTurns(settings.contestants, preparedAtOnce, prepareOne)
    const servers: readonly ServerName[] = [
      'raw-bytes',
      ...settings.contestants.filter((name) => prepared.has(name)),
    ]
    const start = (name: ServerName) => {
      const copyOf = prepared.get(name)?.dir
      return copyOf === undefined ? {} : { copyOf }
    }
    const ask = (asked: readonly (JoinStep | WriteStep)[], expectedVersion: string) =>
      interleave(
        servers,
        settings,
        (server) => ({
          ...server,
          ...(server.automergePath === undefined || repo === null ? {} : { repo }),
          kind: 'join',
          document,
          steps: asked,
          expectedVersion,
        }),
        start,
      )
    const samples = [
      ...(await ask(steps, large.pendingVersion)),
      ...(asksReturning
        ? await ask(ifReturning(step(returningCold, 1, 1, large.lacking)), large.version)
        : []),
      ...failed,
    ]
    const notes = [
      `The document has ${large.bytes} bytes as Yjs encodes it: ${rowCount} rows of 10 cells by 20 authors.`,
      ...(repo === null ? [] : [`The same as Automerge saves it: ${repo.bytes} bytes.`]),
    ]
    const verdicts = judge(
      samples,
      settings.contestants,
      targets.map((target) => ({ ...target, servers: logNames })),
    )
    return [{ question: 'join-large', rows: rowsOf(samples), verdicts, samples, notes }]
  } finally {
    for (const each of prepared.values()) await each.remove()
  }
}
