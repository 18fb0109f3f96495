/** What the routes share, and how they read and write documents: the log for states and statements, rooms for updates. */
import type { DocumentId } from '../../../core/document-id.ts'
import type { EngineName } from '../../../core/engine/engine.ts'
import type { Offset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Gatekeeper, Revocations } from '../../access/access.ts'
import { Slots } from '../../access/slots.ts'
import { type Content, fold, type Statement, statement } from '../../log/lineage.ts'
import type { Loaded, Log } from '../../log/log.ts'
import type { Logger } from '../../logger.ts'
import type { Metrics } from '../../metrics.ts'
import type { Rooms } from '../../room/rooms.ts'
import { newSessionId } from '../../room/session.ts'
import type { Answered, Operation } from '../../views/operations.ts'
import { type Caller, type DocumentCaller, Guard, type GuardLimits } from './guard.ts'
import type { LiveLimits, LiveSource } from './live-source.ts'
import type { QuerySource } from './query-source.ts'

export interface ApiLimits extends GuardLimits, LiveLimits {
  readonly updateBytesMax: number
  /** Documents that are read whole at the same time; more wait. */
  readonly readsMax: number
  /** Without progress for so long, an answer is given up and its connection cut. */
  readonly sendMsMax: number
}

export interface ApiParts {
  readonly rooms: Rooms
  readonly log: Log
  readonly gatekeeper: Gatekeeper
  readonly revocations: Revocations
  readonly logger: Logger
  readonly metrics: Metrics
  /** The state of these updates as JSON in UTF-8, made in a worker. Rejects as `Engine.toJson`. */
  readonly json: (
    engine: EngineName,
    updates: readonly Uint8Array[],
    signal: AbortSignal,
  ) => Promise<Uint8Array>
  /** What was removed or discarded shall leave the disk. */
  readonly compactSoon: (document: DocumentId) => void
  /** Rejects as `Views.operate`. */
  readonly views: (operation: Operation) => Promise<Answered>
  readonly query: QuerySource
  readonly live: LiveSource
  readonly limits: Partial<ApiLimits> & Pick<ApiLimits, 'updateBytesMax'>
}

export interface ApiContext extends Omit<ApiParts, 'limits'> {
  readonly limits: ApiLimits
  readonly guard: Guard
  readonly reads: Slots
}

const mib = 1024 * 1024

export function contextOf(parts: ApiParts): ApiContext {
  const limits: ApiLimits = {
    requestsMax: 200,
    requestsPerUserMax: 50,
    bodyBytesMax: Math.max(64 * mib, 2 * parts.limits.updateBytesMax),
    readsMax: 4,
    sendMsMax: 30_000,
    listenersMax: 1_000,
    listenersPerUserMax: 50,
    heartbeatMs: 15_000,
    ...parts.limits,
  }
  return {
    ...parts,
    limits,
    guard: new Guard(parts.gatekeeper, limits),
    reads: new Slots(limits.readsMax, limits.requestsMax),
  }
}

/** Does what reads whole documents, at most `readsMax` at a time. */
export async function reading<T>({ reads }: ApiContext, caller: Caller, work: () => Promise<T>): Promise<T> {
  const release = await reads.take(caller.signal)
  try {
    return await work()
  } finally {
    release()
  }
}

export interface Read {
  readonly loaded: Loaded
  readonly content: Content
}

/** The document as its log has it now. Throws `not_found` when the log has nothing of it. */
export async function read({ log }: ApiContext, document: DocumentId): Promise<Read> {
  const loaded = await log.load(document)
  if (loaded.offset === 0) throw new TidemarkError('not_found', 'There is no such document')
  return { loaded, content: fold(loaded) }
}

/** Throws `not_found` or `document_removed`. */
export async function readLive(context: ApiContext, document: DocumentId): Promise<Read> {
  const found = await read(context, document)
  if (found.content.lineage.removed) throw removed()
  return found
}

export const removed = (): TidemarkError => new TidemarkError('document_removed', 'The document was deleted')

/** Appends a statement; resolves with its offset once it is durable. */
export async function state(
  { log }: ApiContext,
  { identity, document }: DocumentCaller,
  kind: Statement,
  offsets: readonly number[] = [],
): Promise<Offset> {
  const from = { timeMs: Date.now(), author: identity.subject, origin: newSessionId() }
  const [appended] = await log.append(document, [statement(kind, from, offsets)])
  return appended!.offset
}
