/**
 * What does a join cost when the document has 20 MB? A newcomer, 150 at once, somebody who lacks one update;
 * with nothing but a snapshot, and with 100 pending updates after it. Beside it: `ws` sending as many bytes.
 */
import { join } from 'node:path'
import {
  interleave,
  judge,
  type Prepared,
  prepare,
  type Question,
  rowsOf,
  type Target,
} from './harness/question.ts'
import { logNames, type ServerName } from './harness/servers.ts'
import { writeLargeDocument } from './load/large-document.ts'
import type { JoinStep, WriteStep } from './load/spec.ts'

const document = 'bench-large'
const crowd = 150
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

export const joinLarge: Question = async (settings) => {
  const updateFile = join(settings.temporaryDir, 'large')
  const pendingFile = join(settings.temporaryDir, 'large-pending')
  const large = writeLargeDocument(updateFile, pendingFile)
  const step = (name: string, joiners: number, times: number, version: string): JoinStep => ({
    kind: 'join',
    name,
    joiners,
    times,
    version,
    rawBytes: version === emptyVersion ? large.bytes : returningRawBytes,
  })
  const write: WriteStep = { kind: 'write', updatesFile: pendingFile, version: large.version }
  const times = settings.quick ? 5 : 10
  const steps = [
    step(cold, 1, 1, emptyVersion),
    step(fresh, 1, times, emptyVersion),
    step(freshCrowd, crowd, 1, emptyVersion),
    step(returning, 1, times * 4, large.lacking),
    write,
    step(freshPending, 1, times, emptyVersion),
    step(freshCrowdPending, crowd, 1, emptyVersion),
    step(returningPending, 1, times * 4, large.pendingLacking),
  ]
  const prepared = new Map<ServerName, Prepared>()
  try {
    for (const name of settings.contestants)
      prepared.set(
        name,
        await prepare(name, {}, (server) => ({ ...server, kind: 'store', document, updateFile })),
      )
    const servers: readonly ServerName[] = ['raw-bytes', ...settings.contestants]
    const start = (name: ServerName) => {
      const copyOf = prepared.get(name)?.dir
      return copyOf === undefined ? {} : { copyOf }
    }
    const ask = (asked: readonly (JoinStep | WriteStep)[], expectedVersion: string) =>
      interleave(
        servers,
        settings,
        (server) => ({ ...server, kind: 'join', document, steps: asked, expectedVersion }),
        start,
      )
    const samples = [
      ...(await ask(steps, large.pendingVersion)),
      ...(await ask([step(returningCold, 1, 1, large.lacking)], large.version)),
    ]
    const notes = [
      `The document has ${large.bytes} bytes as Yjs encodes it: 71,000 rows of 10 cells by 20 authors.`,
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
