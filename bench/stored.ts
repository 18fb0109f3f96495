/**
 * How many bytes does a server keep for a text after a long writing session? The same session as in b4.ts, and then the disk: what
 * the server's folder takes when it has ended, less what an empty server's takes. Bytes do not depend on time, so servers
 * are asked a few at once: most of it is waiting.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { diskBytes } from './harness/cpu.ts'
import {
  inTurns,
  orFailed,
  type Question,
  rowsOf,
  type Sample,
  samplesOf,
  tellProgress,
} from './harness/question.ts'
import { type ServerName, startServer } from './harness/servers.ts'
import { writeEditTrace } from './load/edit-trace.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult } from './load/spec.ts'

/** Longer than any server waits before it stores what it was told. */
const restMs = 15_000
const editsOfQuickRun = 60_000
const atOnce = 3

export const stored: Question = async (settings) => {
  const traceFile = join(settings.temporaryDir, 'trace')
  const { edits, engineBytes } = writeEditTrace(traceFile, settings.quick ? editsOfQuickRun : undefined)
  const samples: Sample[] = []
  for (let run = 0; run < settings.runs; run++) {
    await inTurns(settings.contestants, atOnce, async (name) => {
      tellProgress(settings, `run ${run + 1}/${settings.runs} ${name}`)
      samples.push(...samplesOf(run, name, await orFailed(ask(name, traceFile, engineBytes))))
    })
  }
  const notes = [
    `A generated trace of ${edits} edits, which Yjs itself encodes in ${engineBytes} bytes when all is said; bytes on disk are those of the file system. Redis keeps every command until it rewrites its file, which it does from 64 MB on.`,
  ]
  return [{ question: 'stored', rows: rowsOf(samples), verdicts: [], samples, notes }]
}

async function ask(name: ServerName, traceFile: string, yjsBytes: number): Promise<LoadResult> {
  const empty = await startServer(name, { profileDir: null })
  await empty.halt()
  const emptyBytes = diskBytes(empty.dataDir)
  await empty.stop()
  const server = await startServer(name, { profileDir: null })
  try {
    const { cases, errors } = await runLoad({
      ...server,
      kind: 'trace',
      traceFile,
      window: 2000,
      compactionDeadlineMs: 60_000,
    })
    await sleep(restMs)
    await server.halt()
    const storedBytes = diskBytes(server.dataDir) - emptyBytes
    const { engineBytes = yjsBytes, joinBytesCompacted } = cases[0]?.figures ?? {}
    const figures = {
      engineBytes,
      storedBytes,
      storedOverEngineBytes: storedBytes / engineBytes,
      ...(joinBytesCompacted === undefined ? {} : { joinBytes: joinBytesCompacted }),
    }
    return { cases: [{ name: '', figures }], errors }
  } finally {
    await server.stop()
  }
}
