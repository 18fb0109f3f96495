/**
 * How soon is a long writing session on the screen after a restart? The document of 259,778 edits
 * (load/edit-trace.ts), for one joiner and for 50 at once: compacted; with as many further
 * edits in the tail as the defaults allow; and never compacted, so that every edit is in the tail.
 */
import { join } from 'node:path'
import {
  interleave,
  judge,
  type Prepared,
  prepare,
  type Question,
  rowsOf,
  type Sample,
} from './harness/question.ts'
import { logNames, type RunningServer, type ServerName } from './harness/servers.ts'
import { writeEditTrace } from './load/edit-trace.ts'
import type { JoinStep, LoadSpec, WriteStep } from './load/spec.ts'

/** The load `trace` writes it under this name. */
const document = 'bench-trace'
const crowd = 50
const traceWindow = 2000
const compactionDeadlineMs = 60_000

const rests = { ROOM_LINGER_MS: '1000', COMPACTION_INTERVAL_MS: '500', COMPACTION_IDLE_COUNT_MIN: '1' }
const neverCompacts = {
  COMPACTION_TAIL_BYTES_MAX: '1073741824',
  COMPACTION_TAIL_COUNT_MAX: '10000000',
  COMPACTION_IDLE_COUNT_MIN: '10000000',
}
const compacted = 'compacted'
const tailFull = 'tail at its limit'
const neverCompacted = 'never compacted'

export const joinB4: Question = async (asked) => {
  const settings = asked.quick ? { ...asked, runs: 1 } : asked
  const traceFile = join(settings.temporaryDir, 'trace')
  const { engineBytes, version, versionWithMore } = writeEditTrace(traceFile)
  const samples: Sample[] = []
  const step = (joiners: number): JoinStep => ({
    kind: 'join',
    name: joiners === 1 ? 'one' : `${joiners} at once`,
    joiners,
    times: 1,
    version: 'AA==',
    rawBytes: engineBytes,
  })
  const measure = async (
    servers: readonly ServerName[],
    state: string,
    expectedVersion: string,
    prepared: ReadonlyMap<ServerName, Prepared>,
  ) => {
    for (const joiners of [1, crowd]) {
      const steps = [step(joiners)]
      const found = await interleave(
        servers,
        settings,
        (server) => ({ ...server, kind: 'join', document, steps, expectedVersion }),
        (name) => {
          const copyOf = prepared.get(name)?.dir
          return copyOf === undefined ? {} : { copyOf }
        },
      )
      for (const sample of found)
        samples.push({ ...sample, name: state === '' ? sample.name : `${state}, ${sample.name}` })
    }
  }
  await measure(['raw-bytes'], '', version, new Map())
  const all: Prepared[] = []
  const prepareAll = async (of: (name: ServerName) => Promise<Prepared>) => {
    const prepared = new Map<ServerName, Prepared>()
    for (const name of settings.contestants) {
      const each = await of(name)
      all.push(each)
      prepared.set(name, each)
    }
    return prepared
  }
  try {
    const resting = await prepareAll((name) =>
      prepare(name, { relaySettings: rests }, (server) => traceSpec(server, traceFile, true)),
    )
    await measure(settings.contestants, compacted, version, resting)
    const more: WriteStep = { kind: 'write', updatesFile: `${traceFile}.more`, version }
    const full = await prepareAll((name) =>
      prepare(name, { relaySettings: neverCompacts, copyOf: resting.get(name)!.dir }, (server) => ({
        ...server,
        kind: 'join',
        document,
        steps: [more],
        expectedVersion: versionWithMore,
      })),
    )
    await measure(settings.contestants, tailFull, versionWithMore, full)
    const never = await prepareAll((name) =>
      prepare(name, { relaySettings: neverCompacts }, (server) => traceSpec(server, traceFile, false)),
    )
    await measure(settings.contestants, neverCompacted, version, never)
  } finally {
    for (const each of all) await each.remove()
  }
  const names = (suffix: string) =>
    [compacted, tailFull, neverCompacted].map((state) => `${state}, ${suffix}`)
  const verdicts = judge(samples, settings.contestants, [
    { figure: 'joinMs', bound: 'atMost', value: 30, servers: logNames, names: names('one') },
    { figure: 'joinMs', bound: 'atMost', value: 150, servers: logNames, names: names(`${crowd} at once`) },
    {
      figure: 'residentAboveIdleBytes',
      bound: 'atMost',
      value: 50e6,
      servers: logNames,
      names: names(`${crowd} at once`),
    },
  ])
  const notes = [`Each with a relay just started. Yjs itself encodes the document in ${engineBytes} bytes.`]
  return [{ question: 'join-b4', rows: rowsOf(samples), verdicts, samples, notes }]
}

function traceSpec(server: RunningServer, traceFile: string, wait: boolean): LoadSpec {
  return {
    ...server,
    kind: 'trace',
    traceFile,
    window: traceWindow,
    metricsUrl: wait ? server.metricsUrl : null,
    compactionDeadlineMs,
  }
}
