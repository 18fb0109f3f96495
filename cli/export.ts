/**
 * `tidemark export`: documents of a relay into files, as bytes, as JSON or as what is known of who wrote when.
 *
 * - A file is written beside its place and renamed into it, so that one that is there is whole; then its line is added to
 *   the folder's list. Whatever ends an export, the next one fetches what is missing.
 * - A document that the relay has as it was is not fetched again, so a folder is kept up to date at little cost.
 * - Updates are checked before they are written; the list has a hash of each file, which an import compares.
 * - What the relay no longer has stays in the folder: an export never deletes.
 */
import { createHash } from 'node:crypto'
import { mkdir, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { engineOf } from '../core/engine/engine-of.ts'
import { contentOf } from './content.ts'
import { ExportFiles, endingOf } from './export-file.ts'
import { type Exported, type ExportFormat, ExportList } from './export-list.ts'
import { type Held, type Relay, RelayError } from './relay.ts'
import type { Report } from './report.ts'
import { sideBySide } from './side-by-side.ts'

export interface ExportParts {
  readonly relay: Relay
  readonly ids: AsyncIterable<string>
  readonly folder: string
  readonly format: ExportFormat
  /** Fetch what has not changed, too. */
  readonly force: boolean
  readonly atOnceMax: number
  readonly report: Report
  readonly signal: AbortSignal
}

export interface ExportCounts {
  exported: number
  unchanged: number
  failed: number
  bytes: number
  ended: string | null
}

/** Rejects when the folder cannot be used; what is wrong with a document or the relay is counted and said. */
export async function exportAll(parts: ExportParts): Promise<ExportCounts> {
  const { folder, report, signal } = parts
  const counts: ExportCounts = { exported: 0, unchanged: 0, failed: 0, bytes: 0, ended: null }
  await mkdir(folder, { recursive: true })
  const list = await ExportList.open(folder)
  const files = new ExportFiles(list.values())
  try {
    report.begin(null)
    await sideBySide(parts.ids, parts.atOnceMax, async (id) => {
      signal.throwIfAborted()
      try {
        await exportOne(parts, counts, list, files, id)
      } catch (error) {
        if (signal.aborted || !isOfOneDocument(error)) throw error
        counts.failed++
        report.say(`failed  ${id}: ${(error as Error).message}`)
      }
      report.step()
    })
  } catch (error) {
    counts.ended = signal.aborted ? 'interrupted' : (error as Error).message
  } finally {
    await list.close()
  }
  return counts
}

async function exportOne(
  { relay, folder, format, force }: ExportParts,
  counts: ExportCounts,
  list: ExportList,
  files: ExportFiles,
  id: string,
): Promise<void> {
  const before = force ? null : await stillThere(folder, list.get(format, id))
  const held = await changedSince(relay, id, format, before)
  if (held === null) {
    counts.unchanged++
    return
  }
  const { bytes, offset, epoch } = held
  const isAutomerge = format === 'update' && engineOf(bytes) !== 'yjs'
  const file = files.take(id, endingOf(format, isAutomerge))
  await writeWhole(join(folder, file), bytes)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  await list.add({ id, file, format, offset, epoch, bytes: bytes.length, sha256 })
  counts.exported++
  counts.bytes += bytes.length
}

/** One document in a format. Throws what is wrong with it. */
export async function fetchDocument(relay: Relay, id: string, format: ExportFormat): Promise<Held> {
  return (await changedSince(relay, id, format, null))!
}

/** Null when it is as it was. */
async function changedSince(
  relay: Relay,
  id: string,
  format: ExportFormat,
  before: Exported | null,
): Promise<Held | null> {
  switch (format) {
    case 'json':
      return relay.readJson(id, before === null ? null : `"${before.epoch}-${before.offset}"`)
    case 'history':
      return historyOf(relay, id, before)
    case 'update': {
      if (before !== null && (await relay.since(id, before)) === 'same') return null
      const held = await relay.read(id)
      await contentOf([held.bytes])
      return held
    }
  }
}

/** Runs that compaction has made of entries, then entries, a line each. Of a deleted document too. */
async function historyOf(relay: Relay, id: string, before: Exported | null): Promise<Held | null> {
  const lines: string[] = []
  let offset = 0
  for (let after: number | null = 0; after !== null; ) {
    const page = await relay.history(id, after)
    const seen = after
    // A run may have swallowed entries of the page before: whole ones are told by their beginning.
    const runs = page.runs.filter(({ to }) => to > seen)
    for (const run of runs) lines.push(JSON.stringify({ type: 'run', ...run }))
    for (const entry of page.entries) lines.push(JSON.stringify({ type: 'entry', ...entry }))
    offset = Math.max(offset, ...runs.map(({ to }) => to), ...page.entries.map((entry) => entry.offset))
    after = page.next
  }
  if (before?.offset === offset) return null
  return { bytes: new TextEncoder().encode(lines.map((line) => `${line}\n`).join('')), offset, epoch: 0 }
}

/** The list speaks of it, and the file is there with its size. */
async function stillThere(folder: string, exported: Exported | undefined): Promise<Exported | null> {
  if (exported === undefined) return null
  try {
    return (await stat(join(folder, exported.file))).size === exported.bytes ? exported : null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Whole, or not at all. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const beside = `${path}.part`
  await writeFile(beside, bytes)
  await rename(beside, path)
}

/** Not of the relay as a whole, nor of the disk. */
function isOfOneDocument(error: unknown): boolean {
  if (error instanceof RelayError) return !error.isFatal
  return (error as NodeJS.ErrnoException).syscall === undefined
}
