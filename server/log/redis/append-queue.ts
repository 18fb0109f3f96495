/**
 * Group commit: what is appended and published in one turn of the event loop, over all documents,
 * leaves as one FCALL, and the next one follows when few are under way. A command costs this process
 * 12 µs, an entry inside one 0.5: batching is what makes many small appends cheap.
 *
 *   append ─▶ queue (bounded) ─▶ batch (bounded) ─▶ FCALL append ─▶ acks ─▶ the document's feed
 *
 * Nothing is resent by itself, except when Redis did not know the function, for then nothing was
 * executed. A batch whose reply is lost rejects: its entries may or may not be durable.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import { encodeEntry } from '../entry-codec.ts'
import type { Appended, NewEntry } from '../log.ts'
import { decodeLine, type EncodedEntry, encodeRequest, withKey } from './append-request.ts'
import { toTidemarkError, unavailable } from './failure.ts'

export interface AppendLimits {
  readonly batchesInFlightMax: number
  /** A second batch waits for the first unless it has so many appends: few large ones cost less than many small. */
  readonly overlapAppendsMin: number
  /** Documents of a batch; each is an argument, and Lua's stack is finite. */
  readonly batchDocumentsMax: number
  /** A batch is closed once it holds so many bytes; a single append may exceed it. */
  readonly batchBytesMax: number
  /** Bytes accepted and not yet acked; beyond, appends are refused. */
  readonly pendingBytesMax: number
}

export const appendLimits: AppendLimits = {
  batchesInFlightMax: 2,
  overlapAppendsMin: 100,
  batchDocumentsMax: 500,
  batchBytesMax: 4 * 1024 * 1024,
  pendingBytesMax: 256 * 1024 * 1024,
}

export interface AppendQueueOptions {
  readonly node: Buffer
  readonly limits: AppendLimits
  /** Null when a command can be sent. */
  down(): string | null
  call(keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown>
  sentinel(): string
  /** Whether this node's own subscription to the document's channel is confirmed. */
  listens(document: DocumentId): boolean
  keyOf(document: DocumentId): string
  appended(document: DocumentId, entries: readonly NewEntry[], acks: readonly Appended[]): void
  /** After each batch: null, or why it failed. */
  outcome(error: unknown): void
  step(name: 'append:send' | 'append:reply'): void
}

interface Job {
  readonly document: DocumentId
  readonly entries: readonly NewEntry[]
  readonly encoded: readonly EncodedEntry[]
  readonly message: Uint8Array | null
  readonly bytes: number
  resolve(acks: readonly Appended[]): void
  reject(error: unknown): void
}

const nobody = { resolve: () => {}, reject: () => {} }

export class AppendQueue {
  private readonly options: AppendQueueOptions
  private queue: Job[] = []
  private scheduled = false
  private pendingBytes = 0
  private readonly inFlight = new Set<Promise<void>>()

  constructor(options: AppendQueueOptions) {
    this.options = options
  }

  append(document: DocumentId, entries: readonly NewEntry[]): Promise<readonly Appended[]> {
    return new Promise((resolve, reject) => {
      const encoded = entries.map((entry) => withKey(entry, encodeEntry(entry)))
      const bytes = encoded.reduce((sum, entry) => sum + entry.bytes.length, 0)
      const refused = this.add({ document, entries, encoded, message: null, bytes, resolve, reject })
      if (refused !== null) reject(unavailable(refused))
    })
  }

  /** Dropped when it cannot be sent now. */
  publish(document: DocumentId, message: Uint8Array): void {
    this.add({ document, entries: [], encoded: [], message, bytes: message.length, ...nobody })
  }

  /** Resolves when everything asked for so far has ended. */
  async settled(): Promise<void> {
    while (this.queue.length > 0 || this.inFlight.size > 0) {
      if (this.inFlight.size === 0) await new Promise(setImmediate)
      else await Promise.race(this.inFlight)
    }
  }

  /** Resolves when the batches now under way have ended. */
  async batchesSettled(): Promise<void> {
    await Promise.all(this.inFlight)
  }

  /** Rejects what has not been sent. */
  rejectQueued(error: unknown): void {
    for (const job of this.queue.splice(0)) {
      this.pendingBytes -= job.bytes
      job.reject(error)
    }
  }

  private add(job: Job): string | null {
    const down = this.options.down()
    if (down !== null) return down
    if (this.pendingBytes + job.bytes > this.options.limits.pendingBytesMax && this.pendingBytes > 0)
      return 'Too many bytes wait to be appended'
    this.pendingBytes += job.bytes
    this.queue.push(job)
    this.schedule()
    return null
  }

  private maySend(): boolean {
    const { batchesInFlightMax, overlapAppendsMin } = this.options.limits
    if (this.queue.length === 0 || this.inFlight.size >= batchesInFlightMax) return false
    return this.inFlight.size === 0 || this.queue.length >= overlapAppendsMin
  }

  private schedule(): void {
    if (this.scheduled || !this.maySend()) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      while (this.maySend()) {
        const batch = this.send(this.takeBatch())
        this.inFlight.add(batch)
        // `send` does not reject: every failure goes to the jobs.
        void batch.then(() => {
          this.inFlight.delete(batch)
          this.schedule()
        })
      }
    })
  }

  /** The oldest jobs that fit, by document, in the order of the calls within each. */
  private takeBatch(): Map<DocumentId, Job[]> {
    const { batchBytesMax, batchDocumentsMax } = this.options.limits
    const documents = new Map<DocumentId, Job[]>()
    let bytes = 0
    let taken = 0
    for (const job of this.queue) {
      const jobs = documents.get(job.document)
      if (jobs === undefined && documents.size === batchDocumentsMax) break
      if (taken > 0 && bytes + job.bytes > batchBytesMax) break
      if (jobs === undefined) documents.set(job.document, [job])
      else jobs.push(job)
      bytes += job.bytes
      taken++
    }
    this.queue = taken === this.queue.length ? [] : this.queue.slice(taken)
    return documents
  }

  private async send(documents: Map<DocumentId, Job[]>): Promise<void> {
    const { node, call, sentinel, listens, keyOf, appended, outcome, step } = this.options
    const jobs = [...documents.values()]
    try {
      step('append:send')
      const keys: string[] = []
      const requests = []
      for (const [document, ofDocument] of documents) {
        keys.push(keyOf(document))
        requests.push({
          own: listens(document),
          entries:
            ofDocument.length === 1 ? ofDocument[0]!.encoded : ofDocument.flatMap((job) => job.encoded),
          messages: ofDocument.flatMap((job) => job.message ?? []),
        })
      }
      const lines = String(await call(keys, [node, sentinel(), encodeRequest(requests)])).split('\n')
      step('append:reply')
      outcome(null)
      let at = 0
      for (const [document, ofDocument] of documents) {
        const count = requests[at]!.entries.length
        const acks = count === 0 ? [] : decodeLine(lines[at]!, count)
        at++
        if (acks instanceof Error) {
          for (const job of ofDocument) job.reject(toTidemarkError(acks))
          continue
        }
        const entries =
          ofDocument.length === 1 ? ofDocument[0]!.entries : ofDocument.flatMap((job) => job.entries)
        if (ofDocument.length === 1) ofDocument[0]!.resolve(acks)
        else {
          let from = 0
          for (const job of ofDocument) {
            const to = from + job.entries.length
            job.resolve(acks.slice(from, to))
            from = to
          }
        }
        if (count > 0) appended(document, entries, acks)
      }
    } catch (error) {
      outcome(error)
      for (const job of jobs.flat()) job.reject(toTidemarkError(error))
    } finally {
      for (const job of jobs.flat()) this.pendingBytes -= job.bytes
    }
  }
}
