/**
 * From a call of `append` to its ack: limits, offsets, duplicates, the group it joins, and what happens
 * when that group is on the disk, or is not.
 *
 *   append → (waits while the checkpoint is far behind) → offset promised → group → journal
 *     durable: heads move, acks resolve, followers are told
 *     failed: everything promised is taken back, in memory as if it had never come, and is refused
 */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Offset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Logger } from '../../logger.ts'
import { placed } from '../entry-codec.ts'
import type { Appended, NewEntry } from '../log.ts'
import type { Checkpointer } from './checkpoint.ts'
import type { DocumentState } from './document-state.ts'
import type { Documents } from './documents.ts'
import { entryBytesMax, stringBytesMax } from './entry-bytes.ts'
import type { Group, Waiter } from './group.ts'
import type { Journal, JournalListener } from './journal.ts'
import type { EmbeddedLogLimits } from './limits.ts'

/** Reference, offset and length in the journal record. */
const framingBytesMax = 20

interface Waiting {
  readonly document: DocumentId
  readonly entries: readonly NewEntry[]
  readonly bytes: number
  readonly resolve: Waiter['resolve']
  readonly reject: Waiter['reject']
}

export interface AppendParts {
  readonly documents: Documents
  readonly journal: Journal
  readonly checkpointer: Checkpointer
}

export class Appends implements JournalListener {
  /** Of appends that are not yet durable. */
  queuedBytes = 0
  private readonly limits: EmbeddedLogLimits
  private readonly logger: Logger
  private parts: AppendParts | null = null
  /** Appends that wait for the checkpoint. */
  private waiting: Waiting[] = []

  constructor(limits: EmbeddedLogLimits, logger: Logger) {
    this.limits = limits
    this.logger = logger
  }

  /** The journal is made with this listener, so it comes later; once, before the first append. */
  attach(parts: AppendParts): void {
    this.parts = parts
  }

  /** Why appends are refused, or null. */
  get unavailable(): string | null {
    const { journal, checkpointer } = this.attached()
    return journal.unavailable ?? (this.backlogged ? checkpointer.failure : null)
  }

  append(document: DocumentId, entries: readonly NewEntry[]): Promise<readonly Appended[]> {
    return new Promise((resolve, reject) => {
      let bytes = stringBytesMax(document)
      for (const entry of entries) bytes += entryBytesMax(entry) + framingBytesMax
      const { appendBytesMax, queuedBytesMax } = this.limits
      if (bytes > appendBytesMax) {
        reject(
          new TidemarkError('update_too_large', `An append of ${bytes} bytes; ${appendBytesMax} at most`),
        )
      } else if (this.queuedBytes + bytes > queuedBytesMax) {
        reject(new TidemarkError('overloaded', `More than ${queuedBytesMax} bytes wait for the disk`))
      } else if (this.waiting.length > 0 || this.backlogged) {
        this.queuedBytes += bytes
        this.waiting.push({ document, entries, bytes, resolve, reject })
      } else this.enqueue(document, entries, bytes, resolve, reject)
    })
  }

  private enqueue(
    document: DocumentId,
    entries: readonly NewEntry[],
    bytes: number,
    resolve: Waiter['resolve'],
    reject: Waiter['reject'],
  ): void {
    const { documents, journal } = this.attached()
    let state: DocumentState
    try {
      state = documents.get(document)
    } catch (error) {
      reject(error)
      return
    }
    const group = journal.groupFor(bytes)
    const before = group.end
    const appended: Appended[] = []
    for (const entry of entries) {
      const key = entry.key
      if (key === undefined) {
        group.add(state, ++state.head, entry, null)
        appended.push({ offset: state.head as Offset, duplicate: false })
        continue
      }
      const replica = state.replica(key.replica, this.limits.replicasMax)
      if (key.sequence <= replica.sequence) {
        appended.push({ offset: replica.offset as Offset, duplicate: true })
        continue
      }
      group.add(state, ++state.head, entry, replica)
      replica.sequence = key.sequence
      replica.offset = state.head
      appended.push({ offset: state.head as Offset, duplicate: false })
    }
    this.queuedBytes += group.end - before
    group.waiters.push({ appended, resolve, reject })
  }

  /** Called by the journal. */
  onDurable(group: Group): void {
    const { checkpointer } = this.attached()
    const { states, entries, addresses, replicas, waiters, lsn } = group
    const told: DocumentState[] = []
    for (let i = 0; i < states.length; i++) {
      const state = states[i]!
      const entry = entries[i]!
      const replica = replicas[i]!
      const offset = ++state.durableHead as Offset
      state.addresses.push(addresses[i]!)
      state.sequence = lsn
      if (replica !== null) {
        replica.durableSequence = entry.key!.sequence
        replica.durableOffset = offset
      }
      if (!state.dirty) checkpointer.add(state)
      if (state.feeds.length === 0) continue
      if (state.deliveries === null) {
        state.deliveries = []
        told.push(state)
      }
      state.deliveries.push(placed(entry, offset))
    }
    this.queuedBytes -= group.payloadBytes
    for (const waiter of waiters) waiter.resolve(waiter.appended)
    for (const state of told) {
      const deliveries = state.deliveries!
      state.deliveries = null
      for (const feed of [...state.feeds]) feed.deliver(deliveries)
    }
    if (checkpointer.uncheckpointedBytes >= this.limits.checkpointBytes) checkpointer.request()
  }

  /** Called by the journal: none of these groups became durable, as far as anybody will be told. */
  onFailed(groups: readonly Group[], error: Error): void {
    this.logger.error({ err: error }, 'journal write failed')
    const refusal = new TidemarkError('log_unavailable', `The log could not be written: ${error.message}`, {
      cause: error,
    })
    for (const group of groups) {
      for (const [i, state] of group.states.entries()) {
        state.rollBack()
        const replica = group.replicas[i]!
        if (replica !== null) state.rollBackReplica(replica)
      }
      this.queuedBytes -= group.payloadBytes
    }
    for (const { waiters } of groups) for (const { reject } of waiters) reject(refusal)
    this.refuseWaiting(refusal)
  }

  private get backlogged(): boolean {
    return this.attached().checkpointer.uncheckpointedBytes > this.limits.uncheckpointedBytesMax
  }

  /** A checkpoint has ended: lets in what waited for it, or refuses it when it failed. */
  checkpointEnded(): void {
    if (this.waiting.length === 0) return
    const { failure } = this.attached().checkpointer
    if (!this.backlogged) {
      const admitted = this.waiting
      this.waiting = []
      for (const { document, entries, bytes, resolve, reject } of admitted) {
        this.queuedBytes -= bytes
        this.enqueue(document, entries, bytes, resolve, reject)
      }
    } else if (failure !== null)
      this.refuseWaiting(new TidemarkError('log_unavailable', `The log takes no writes: ${failure}`))
  }

  refuseWaiting(error: TidemarkError): void {
    const refused = this.waiting
    this.waiting = []
    for (const { bytes, reject } of refused) {
      this.queuedBytes -= bytes
      reject(error)
    }
  }

  private attached(): AppendParts {
    if (this.parts === null) throw new Error('no journal attached')
    return this.parts
  }
}
