/**
 * Who wrote when, also after compaction has dropped the entries: runs of entries, oldest first. Entries of one
 * author with less than `runGapMs` between them are one run, so a day of typing is a few runs. At most
 * `runsMax` are kept: beyond, the two oldest become one, with the authors of both (at most `authorsMax`).
 */
import type { ByteReader, ByteWriter } from '../../core/bytes.ts'
import { type Offset, toOffset } from '../../core/offset.ts'
import type { Entry } from './log.ts'

export const runGapMs = 600_000
export const runsMax = 500
export const authorsMax = 16

/** Entries `from` to `to`, inclusive; several authors only where old runs were joined. */
export interface Run {
  readonly from: Offset
  readonly to: Offset
  readonly fromMs: number
  readonly toMs: number
  readonly authors: readonly string[]
  readonly updates: number
  /** Of the updates as they came in. */
  readonly bytes: number
}

/** The history after `entries`, which follow the last run. Ten thousand entries a call: no object for each. */
export function extendHistory(history: readonly Run[], entries: readonly Entry[]): readonly Run[] {
  const runs = [...history]
  for (let i = 0; i < entries.length; ) {
    const first = entries[i]!
    let toMs = first.timeMs
    let bytes = 0
    let end = i
    for (; end < entries.length; end++) {
      const { author, timeMs, update } = entries[end]!
      if (author !== first.author || timeMs - toMs >= runGapMs) break
      toMs = Math.max(toMs, timeMs)
      bytes += update.length
    }
    const { offset: from, timeMs: fromMs, author } = first
    const to = entries[end - 1]!.offset
    const run = { from, to, fromMs, toMs, authors: [author], updates: end - i, bytes }
    const last = runs.at(-1)
    if (last !== undefined && continues(last, run)) runs[runs.length - 1] = joined(last, run)
    else runs.push(run)
    i = end
  }
  while (runs.length > runsMax) runs.splice(0, 2, joined(runs[0]!, runs[1]!))
  return runs
}

const continues = (run: Run, next: Run): boolean =>
  run.authors.length === 1 && run.authors[0] === next.authors[0] && next.fromMs - run.toMs < runGapMs

function joined(earlier: Run, later: Run): Run {
  return {
    from: earlier.from,
    to: later.to,
    fromMs: earlier.fromMs,
    toMs: Math.max(earlier.toMs, later.toMs),
    authors: [...new Set([...earlier.authors, ...later.authors])].slice(0, authorsMax),
    updates: earlier.updates + later.updates,
    bytes: earlier.bytes + later.bytes,
  }
}

/** runs:varUint (from to fromMs toMs updates bytes:varUint authors:varUint author:varString*)* */
export function writeHistory(writer: ByteWriter, history: readonly Run[]): void {
  writer.varUint(history.length)
  for (const { from, to, fromMs, toMs, updates, bytes, authors } of history) {
    writer.varUint(from).varUint(to).varUint(fromMs).varUint(toMs).varUint(updates).varUint(bytes)
    writer.varUint(authors.length)
    for (const author of authors) writer.varString(author)
  }
}

export function readHistory(reader: ByteReader): Run[] {
  const runs: Run[] = []
  for (let left = reader.varUint(); left > 0; left--) {
    const from = toOffset(reader.varUint())
    const to = toOffset(reader.varUint())
    const fromMs = reader.varUint()
    const toMs = reader.varUint()
    const updates = reader.varUint()
    const bytes = reader.varUint()
    const authors: string[] = []
    for (let count = reader.varUint(); count > 0; count--) authors.push(reader.varString())
    runs.push({ from, to, fromMs, toMs, authors, updates, bytes })
  }
  return runs
}
