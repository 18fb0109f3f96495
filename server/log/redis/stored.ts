/**
 * Reads what is stored: the function library is called here, loaded again when the server does not
 * know it, and its replies become entries and snapshots, or `document_unreadable` (P3). A reply that does
 * not continue where it should is never passed on.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import { noOffset, type Offset, toOffset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { decodeEntry } from '../entry-codec.ts'
import type { Entry, Loaded, Snapshot } from '../log.ts'
import type { Client } from './connection.ts'
import { isUnknownFunction, unavailable } from './failure.ts'
import { changesKey, logKey, snapshotKey } from './keys.ts'
import { type FunctionName, functionNames, libraryCode, libraryName, readers } from './library.ts'
import type { Commands } from './replicated.ts'

export interface StoredLimits {
  /** Bytes of entries after which one read of a stream ends; the next one goes on from there. */
  readonly readBytesMax: number
  /** Loads begun anew because a compaction came between their reads. */
  readonly loadAttemptsMax: number
}

export const storedLimits: StoredLimits = { readBytesMax: 8 * 1024 * 1024, loadAttemptsMax: 5 }

export interface Page {
  readonly entries: readonly Entry[]
  /** The log's head at the time of the read. */
  readonly head: Offset
  readonly snapshotOffset: Offset
}

export interface StoredHead {
  readonly head: Offset
  /** The entry at the offset asked for; null when it is gone or was not asked for. */
  readonly entry: Buffer | null
}

export async function loadLibrary(client: Client): Promise<void> {
  const found = await client.sendCommand(['FUNCTION', 'LIST', 'LIBRARYNAME', libraryName])
  if (Array.isArray(found) && found.length > 0) return
  await client.sendCommand(['FUNCTION', 'LOAD', 'REPLACE', libraryCode])
}

export class Stored {
  private readonly commands: Commands
  private readonly limits: StoredLimits
  private loadingLibrary: Promise<void> | null = null

  constructor(commands: Commands, limits: StoredLimits) {
    this.commands = commands
    this.limits = limits
  }

  async load(document: DocumentId, after: Offset): Promise<Loaded> {
    if (after > noOffset) {
      const tail = await this.readAll(document, after)
      if (tail !== null) return { snapshot: null, tail, offset: tail.at(-1)?.offset ?? after }
    }
    let before: Offset | null = null
    for (let attempt = 0; attempt < this.limits.loadAttemptsMax; attempt++) {
      const loaded = await this.tryLoad(document)
      if (typeof loaded !== 'number') return loaded
      // No compaction explains what is missing.
      if (loaded === before) throw lacksEntries()
      before = loaded
    }
    throw unavailable('Compactions kept coming between the reads of a load')
  }

  /** The snapshot's offset alone when the entries after it broke off, as a compaction between two reads does. */
  private async tryLoad(document: DocumentId): Promise<Loaded | Offset> {
    const [page, snapshot] = await Promise.all([
      this.readFrom(document, noOffset, 'tail'),
      this.snapshot(document),
    ])
    if (page === null) throw lacksEntries()
    if (page.snapshotOffset !== (snapshot?.offset ?? noOffset)) return page.snapshotOffset
    const tail = [...page.entries]
    const reached = tail.at(-1)?.offset ?? snapshot?.offset ?? noOffset
    const rest = reached < page.head ? await this.readAll(document, reached) : []
    if (rest === null) return snapshot?.offset ?? noOffset
    for (const entry of rest) tail.push(entry)
    return { snapshot, tail, offset: tail.at(-1)?.offset ?? reached }
  }

  /** All entries after `after` up to the head of the first read; null when one is not there. */
  private async readAll(document: DocumentId, after: Offset): Promise<Entry[] | null> {
    const entries: Entry[] = []
    let reached = after
    for (let head = Number.POSITIVE_INFINITY; reached < head; ) {
      const page = await this.read(document, reached)
      if (page === null) return null
      head = Math.min(head, page.head)
      for (const entry of page.entries) entries.push(entry)
      reached = entries.at(-1)?.offset ?? after
    }
    return entries
  }

  /** The entries after `after`, as many as one read gives; null when the next one is not there. */
  read(document: DocumentId, after: Offset): Promise<Page | null> {
    return this.readFrom(document, after, '')
  }

  private async readFrom(document: DocumentId, after: Offset, from: 'tail' | ''): Promise<Page | null> {
    const args = [String(after), String(this.limits.readBytesMax), from]
    const reply = (await this.call('read', [logKey(document)], args, true)) as unknown[]
    const [head, snapshotOffset, first, found] = reply as [number, number, number, Buffer[]]
    const start = from === 'tail' ? snapshotOffset : after
    if (found.length === 0 ? head !== start : first !== start + 1) return null
    const entries = found.map((bytes, i) => readEntry(bytes, first + i))
    return { head: toOffset(head), snapshotOffset: toOffset(snapshotOffset), entries }
  }

  /**
   * A plain command: through a function, 20 MB would keep Redis busy for 67 ms instead of 16. Snapshots never
   * go back, so one with the offset that a read has seen holds the state it has seen.
   */
  private async snapshot(document: DocumentId): Promise<Snapshot | null> {
    const command = ['HMGET', snapshotKey(document), 'offset', 'bytes', 'index', 'metadata']
    return snapshotOf((await this.commands.commandForBuffers(command)) as (Buffer | null)[])
  }

  /** The heads of many documents, each with the entry at `offsets[i]` unless that is 0. */
  async heads(documents: readonly DocumentId[], offsets: readonly number[]): Promise<readonly StoredHead[]> {
    const keys = documents.map(logKey)
    const reply = (await this.call('heads', keys, offsets.map(String), true)) as (number | Buffer | null)[]
    return documents.map((_, i) => ({
      head: toOffset(reply[2 * i] as number),
      entry: reply[2 * i + 1] as Buffer | null,
    }))
  }

  /** The sequence of the last change of any document; 0 when there is none. */
  async latestChange(): Promise<number> {
    const found = await this.commands.command(['ZRANGE', changesKey, '0', '0', 'REV', 'WITHSCORES'])
    return Number((found as [string, number][])[0]?.[1] ?? 0)
  }

  /** How many documents changed after this sequence. */
  async changeCount(after: number): Promise<number> {
    return (await this.commands.command(['ZCOUNT', changesKey, `(${after}`, '+inf'])) as number
  }

  /** Rejects with what Redis said. With `buffers`, byte strings in the reply are views of larger memory. */
  async call(
    name: FunctionName,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
    buffers = false,
  ): Promise<unknown> {
    const verb = readers.includes(name) ? 'FCALL_RO' : 'FCALL'
    const command = [verb, functionNames[name], String(keys.length), ...keys, ...args]
    const send = () => (buffers ? this.commands.commandForBuffers(command) : this.commands.command(command))
    try {
      return await send()
    } catch (error) {
      if (!isUnknownFunction(error)) throw error
    }
    this.loadingLibrary ??= loadLibrary(this.commands.live).finally(() => {
      this.loadingLibrary = null
    })
    await this.loadingLibrary
    return send()
  }
}

const lacksEntries = (): TidemarkError =>
  new TidemarkError('document_unreadable', 'The stored document lacks entries after its snapshot')

export function readEntry(bytes: Buffer, offset: number): Entry {
  try {
    // A copy: the view would keep the whole chunk that came from the socket alive.
    return decodeEntry(new Uint8Array(bytes), toOffset(offset))
  } catch (error) {
    throw new TidemarkError('document_unreadable', `Entry ${offset} is damaged`, { cause: error })
  }
}

function snapshotOf([offset, bytes, index, metadata]: readonly (
  | Buffer
  | null
  | undefined
)[]): Snapshot | null {
  if (!offset && !bytes && !index) return null
  const number = Number(offset?.toString())
  if (!offset || !bytes || !index || !Number.isSafeInteger(number) || number < 1)
    throw new TidemarkError('document_unreadable', 'The stored snapshot is damaged')
  return { offset: toOffset(number), bytes, index, metadata: metadata ?? new Uint8Array() }
}
