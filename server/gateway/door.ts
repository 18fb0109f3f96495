/** What the doors get of the server, and what the gateway needs of a connection, whatever its door. */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { DocumentId } from '../../core/document-id.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import { type Gatekeeper, type Identity, includes, type Revocation } from '../access/access.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { Rooms } from '../room/rooms.ts'
import type { SessionLimits } from '../room/session.ts'

export interface DoorContext {
  readonly rooms: Rooms
  readonly gatekeeper: Gatekeeper
  readonly limits: SessionLimits
  readonly logger: Logger
  readonly metrics: Metrics
}

/** A WebSocket after its handshake. */
export interface Arrival {
  readonly ws: WebSocket
  readonly socket: Socket
  /** As it stood in the URL or a header. */
  readonly token: string | null
}

export interface Connection {
  readonly closed: boolean
  /** It has not yet said what lets it stay. */
  readonly silent: boolean
  /** Nothing is read from it, so its pongs are not either. */
  readonly paused: boolean
  /** Absent: as the gateway does. */
  readonly pingEveryMs?: number
  /** Called every second or so: ends rights whose time is over. */
  beat(nowMs: number): void
  /** Ends what the revocation ends. */
  revoked(revocation: Revocation): void
  close(code: ErrorCode, reason: string): void
}

/** Throws `forbidden` unless the identity may read the document. */
export function assertReadable(identity: Identity, document: DocumentId): void {
  if (!includes(identity.accessTo(document), 'read'))
    throw new TidemarkError('forbidden', 'This token gives no access to this document')
}

/** What the other side may know of an error: rows of the table are meant for it, anything else is a defect of ours. */
export function toldOf(error: unknown): { readonly code: ErrorCode; readonly reason: string } {
  return error instanceof TidemarkError
    ? { code: error.code, reason: error.message }
    : { code: 'internal', reason: 'Internal error' }
}

/** `toldOf`, after it was logged. */
export function reported(
  logger: Logger,
  error: unknown,
  of: 'connection' | { readonly session: string | undefined },
): ReturnType<typeof toldOf> {
  const told = toldOf(error)
  const [what, whose] = of === 'connection' ? [of, {}] : ['session', of]
  if (error instanceof TidemarkError) logger.info({ ...whose, ...told }, `${what} refused`)
  else logger.error({ ...whose, err: error }, `${what} failed`)
  return told
}
