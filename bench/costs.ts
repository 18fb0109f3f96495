/**
 * What has to be paid for a connection, for an open document and for one at rest? The figures that docs/scaling.md reckons with.
 *
 *   sessions   5,000 of them that do nothing: on 50 documents, and each on one of its own. The difference is the open document's.
 *   stored     documents of 20 entries, written one by one and left alone: what one takes on disk, or in Redis, as it was written
 *              and when it is compacted.
 */
import { diskBytes, residentBytes } from './harness/cpu.ts'
import { interleave, interleaveEach, type Question, rowsOf, type Settings } from './harness/question.ts'
import { type RunningServer, type ServerName, startServer } from './harness/servers.ts'
import { EntriesDocument } from './load/entries.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult } from './load/spec.ts'
import { untilCompacted } from './load/trace.ts'

/** As many updates: a tail that is compacted once everybody has left. */
const entries = 20
const sharedDocuments = 50
/** Empty rooms linger before they close, and are compacted then. */
const restedMs = 120_000

export const costs: Question = async (settings) => {
  const sessions = []
  for (const [name, documents] of [
    ['documents shared', sharedDocuments],
    ['a document each', Number.MAX_SAFE_INTEGER],
  ] as const) {
    const samples = await interleave(settings.contestants, settings, (server) => ({
      ...server,
      kind: 'idle',
      warmUpSessions: 1000,
      sessions: 5000,
      documents,
      atOnce: 100,
    }))
    sessions.push(...samples.map((sample) => ({ ...sample, name })))
  }
  const stored = await interleaveEach(settings.contestants, settings, (name) => ask(name, settings))
  return [
    { question: 'costs-sessions', rows: rowsOf(sessions), verdicts: [], samples: sessions, notes: [] },
    { question: 'costs-stored', rows: rowsOf(stored), verdicts: [], samples: stored, notes: [] },
  ]
}

async function ask(name: ServerName, { quick }: Settings): Promise<LoadResult> {
  const documents = quick ? 2000 : 20_000
  const server = await startServer(name, { profileDir: null })
  try {
    const steps = [{ from: 0, to: entries, atOnce: 1 }]
    const before = keptBytes(server)
    const from = performance.now()
    const { errors } = await runLoad({ ...server, kind: 'fill', prefix: 'bench/', documents, steps, skip: 0 })
    const filledMs = performance.now() - from
    const written = keptBytes(server) - before
    const rest = await untilCompacted(server.metricsUrl!, restedMs)
    const stored = keptBytes(server) - before
    const figures = {
      documents,
      engineBytesPerDocument: new EntriesDocument().set(0, entries, false).update.length,
      writtenBytesPerDocument: written / documents,
      storedBytesPerDocument: stored / documents,
      updatesPerSecond: (documents * entries * 1000) / filledMs,
    }
    return {
      cases: [{ name: '', figures }],
      errors: rest.settled ? errors : [...errors, 'compaction never rested'],
    }
  } finally {
    await server.stop()
  }
}

/** Of Redis its memory, else what the folder takes on disk. */
const keptBytes = ({ logPid, dataDir }: RunningServer): number =>
  logPid === null ? diskBytes(dataDir) : residentBytes(logPid)
