/** Puts documents with entries into a relay's log, each in a few updates; ends when all is durable. */
import { type Edit, EntriesDocument, stamped } from './entries.ts'
import { Pusher } from './pusher.ts'
import type { FillSpec, LoadResult } from './spec.ts'

const documentsAtOnce = 200
const durableMs = 60_000

export async function fill(spec: FillSpec): Promise<LoadResult> {
  const errors: string[] = []
  const made = new EntriesDocument()
  const edits: Edit[] = []
  for (const { from, to, atOnce } of spec.steps)
    for (let at = from; at < to; at += atOnce) edits.push(made.set(at, Math.min(to, at + atOnce), false))
  const kept = edits.slice(spec.skip)
  const pusher = await Pusher.connect(spec.address, (reason) => errors.push(reason))
  for (let from = 0; from < spec.documents; from += documentsAtOnce) {
    const count = Math.min(documentsAtOnce, spec.documents - from)
    const opened = await Promise.all(
      Array.from({ length: count }, (_, i) => pusher.open(`${spec.prefix}${from + i}`)),
    )
    for (const edit of kept) for (const document of opened) pusher.push(document, stamped(edit, 0))
    if (!(await pusher.drained(durableMs))) errors.push('not everything became durable')
    for (const document of opened) pusher.release(document)
    if (errors.length > 0) break
  }
  pusher.end()
  return { cases: [{ name: '', figures: {} }], errors: errors.slice(0, 20) }
}
