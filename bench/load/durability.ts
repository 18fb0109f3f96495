/**
 * Is an edit that others have seen still there when the server was killed and started anew, and its author never comes back?
 *
 * Many documents, each with one writer and one reader; at a moment in the midst of it the server gets SIGKILL. What readers had by
 * then is noted, and, where a server acknowledges, what writers had been told is saved. Nobody comes back with what it has: a
 * newcomer reads each document, and what was seen or acknowledged and is not there is lost.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { pace } from './fan-out.ts'
import { typingFrameBytesMax, writeTypingFrame } from './frames.ts'
import { joinInTurns, openPeer, sleep, until } from './peer.ts'
import type { KillSpec, LoadResult, RecoverSpec } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

const clientsFrom = 1_000_000_000
/** What is on its way to readers when the server dies is read by then. */
const drainMs = 500
/** Some servers answer a newcomer first, and read what is stored afterwards. */
const readDeadlineMs = 10_000
/** A Hocuspocus server's word that an update was applied. */
const syncStatusMessage = 8

interface Typed {
  sent: number
  /** By the reader: edits from the first on, without gap. */
  seen: number
  acknowledged: number
}

export async function kill(spec: KillSpec, prefix: string): Promise<LoadResult> {
  const documents: Typed[] = []
  let reason: string | null = null
  let isKilled = false
  const onBroken = (why: string) => {
    if (!isKilled) reason ??= why
  }
  const readers = await joinInTurns(spec.documents, (index) => {
    const document: Typed = { sent: 0, seen: 0, acknowledged: 0 }
    documents.push(document)
    return openPeer({
      ...spec,
      document: `${prefix}-${index}`,
      onUpdate(bytes, start) {
        document.seen = contiguous(bytes, syncMessage(bytes, start)!.start, document.seen)
      },
      onBroken,
    })
  })
  const writers = await joinInTurns(spec.documents, (index) =>
    openPeer({
      ...spec,
      document: `${prefix}-${index}`,
      onUpdate() {},
      onFrame(bytes, start) {
        if (bytes[start] === syncStatusMessage && bytes[start + 1] === 1) documents[index]!.acknowledged++
      },
      onBroken,
    }),
  )
  // One is for the answer to the server's first step.
  await sleep(drainMs)
  for (const document of documents) document.acknowledged = 0
  let next = 0
  const stop = pace(spec.updatesPerSecond, (count) => {
    for (let i = 0; i < count; i++) {
      const index = next++ % documents.length
      const bytes = Buffer.allocUnsafe(typingFrameBytesMax)
      const end = writeTypingFrame(bytes, 0, clientsFrom + index, documents[index]!.sent++)
      writers[index]!.socket.write(bytes.subarray(0, end))
    }
  })
  await sleep(spec.afterMs)
  isKilled = true
  process.kill(spec.serverPid, 'SIGKILL')
  stop()
  await sleep(drainMs)
  for (const peer of [...readers, ...writers]) peer.socket.end()
  writeFileSync(spec.seenFile, JSON.stringify(documents))
  const errors = reason === null ? [] : [String(reason)]
  return { cases: [{ name: '', figures: totals(documents) }], errors }
}

export async function recover(spec: RecoverSpec, prefix: string): Promise<LoadResult> {
  const documents = JSON.parse(readFileSync(spec.seenFile, 'utf8')) as Typed[]
  const errors: string[] = []
  const found = new Uint32Array(documents.length)
  const readers = await joinInTurns(documents.length, (index) =>
    openPeer({
      ...spec,
      document: `${prefix}-${index}`,
      onUpdate(bytes, start) {
        found[index] = contiguous(bytes, syncMessage(bytes, start)!.start, found[index]!)
      },
      onBroken: (reason) => errors.push(reason),
    }),
  )
  await until(() => documents.every(({ seen }, i) => found[i]! >= seen), readDeadlineMs)
  for (const peer of readers) peer.socket.end()
  const lost = (of: (document: Typed) => number): number =>
    documents.reduce((sum, document, i) => sum + Math.max(0, of(document) - found[i]!), 0)
  const seenAndLost = lost(({ seen }) => seen)
  const acknowledgedAndLost = lost(({ acknowledged }) => acknowledged)
  const { seen, acknowledged } = totals(documents)
  const figures = {
    ...totals(documents),
    seenAndLost,
    acknowledgedAndLost,
    seenAndLostPercent: (100 * seenAndLost) / seen,
    acknowledgedAndLostPercent: acknowledged === 0 ? Number.NaN : (100 * acknowledgedAndLost) / acknowledged,
  }
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 5) }
}

function totals(documents: readonly Typed[]): { sent: number; seen: number; acknowledged: number } {
  const sum = (of: keyof Typed): number => documents.reduce((total, each) => total + each[of], 0)
  return { sent: sum('sent'), seen: sum('seen'), acknowledged: sum('acknowledged') }
}

/** The end of the edits from the first on, of which `until` were known. */
function contiguous(bytes: Buffer, start: number, until: number): number {
  let end = until
  visitUpdate(bytes, start, {
    onStructs(_client, clock, length) {
      if (clock <= end) end = Math.max(end, clock + length)
    },
    onDeletes() {},
  })
  return end
}
