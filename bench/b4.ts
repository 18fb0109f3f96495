/**
 * How fast does a long writing session go in, edit by edit, and how small is it kept? 259,778 edits in
 * the shape of the automerge-paper trace (load/edit-trace.ts says what is the same and what is not).
 */
import { join } from 'node:path'
import { interleave, judge, type Question, rowsOf } from './harness/question.ts'
import { logNames } from './harness/servers.ts'
import { writeEditTrace } from './load/edit-trace.ts'

export const b4: Question = async (asked) => {
  const settings = asked.quick ? { ...asked, runs: 1 } : asked
  const traceFile = join(settings.temporaryDir, 'trace')
  const { edits, engineBytes, characters } = writeEditTrace(traceFile)
  const samples = await interleave(['raw-each', ...settings.contestants], settings, (server) => ({
    ...server,
    kind: 'trace',
    traceFile,
    window: 2000,
    compactionDeadlineMs: 60_000,
  }))
  const withRatio = samples.map((sample) => {
    const bytes = sample.figures['joinBytesCompacted']
    return bytes === undefined
      ? sample
      : { ...sample, figures: { ...sample.figures, storedOverEngineBytes: bytes / engineBytes } }
  })
  const verdicts = judge(withRatio, settings.contestants, [
    { figure: 'updatesPerSecond', bound: 'atLeast', value: 70_000, servers: logNames },
    { figure: 'storedOverEngineBytes', bound: 'atMost', value: 1.2, servers: logNames },
  ])
  const notes = [
    `A generated trace of ${edits} edits with ${characters} characters left, not the public recording; Yjs itself encodes it in ${engineBytes} bytes.`,
  ]
  return [{ question: 'b4', rows: rowsOf(withRatio), verdicts, samples: withRatio, notes }]
}
