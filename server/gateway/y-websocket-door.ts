/**
 * The door for y-websocket clients: `ws://host:port/<document id>`.
 *
 *   socket opens → enter the room → once it is open: our step 1 → the client's messages, in order
 *
 * What comes before the room is open waits here, at most `earlyBytesMax`. Whatever is refused closes
 * the socket with a row of the error table and its reason, and concerns nobody else.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { DocumentId } from '../../core/document-id.ts'
import { errorTable, TidemarkError } from '../../core/protocol/errors.ts'
import { decodeMessage, encodeDenied, encodeSyncStep1 } from '../../core/protocol/y-websocket.ts'
import { type Identity, includes } from '../access/access.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { Room } from '../room/room.ts'
import type { Rooms } from '../room/rooms.ts'
import { Session, type SessionLimits } from '../room/session.ts'
import { closeSocket } from './close-socket.ts'
import { frame } from './websocket-frame.ts'
import { yWebsocketDialect } from './y-websocket-dialect.ts'

export interface DoorContext {
  readonly rooms: Rooms
  readonly limits: SessionLimits
  readonly logger: Logger
  readonly metrics: Metrics
}

/** What the gateway has found out about a connection. */
export interface Arrival {
  readonly ws: WebSocket
  readonly socket: Socket
  readonly document: DocumentId
  readonly identity: Identity
  readonly query: URLSearchParams
}

/** Messages that wait for the room to open, per session. */
const earlyBytesMax = 4 * 1024 * 1024

/** The identity may at least read the document. */
export function acceptYWebsocket(arrival: Arrival, context: DoorContext): Session {
  const { ws, socket, document, identity, query } = arrival
  const session = new Session({
    document,
    identity,
    dialect: yWebsocketDialect,
    socket,
    echo: query.get('echo') === 'true',
    pause: () => ws.pause(),
    resume: () => ws.resume(),
    close: (code, reason) => {
      context.metrics.refused(code)
      // y-websocket clients show the reason of a denial; most show nothing of a close.
      if (!errorTable[code].retryable) session.write(frame(encodeDenied(reason)), Date.now())
      closeSocket(ws, code, reason)
    },
    limits: context.limits,
  })
  try {
    converse(ws, session, context)
  } catch (error) {
    refuse(session, error, context)
  }
  return session
}

function converse(ws: WebSocket, session: Session, context: DoorContext): void {
  const { document } = session
  const room = context.rooms.enter(document, session)
  let early: Uint8Array[] | null = []
  let earlyBytes = 0

  const receive = (message: Uint8Array): void => {
    if (session.state === 'closed') return
    try {
      handle(message, room, session, context)
    } catch (error) {
      refuse(session, error, context)
    }
  }
  ws.on('message', (message: Buffer) => {
    session.received(message.length)
    context.metrics.received(message.length)
    if (early === null) return receive(message)
    early.push(message)
    earlyBytes += message.length
    if (earlyBytes > earlyBytesMax)
      session.close('overloaded', 'Too much was sent before the document was open')
  })
  ws.on('close', () => context.rooms.leave(room, session))
  ws.on('error', (error) => context.logger.debug({ document, err: error }, 'socket error'))

  room.opened
    .then(() => {
      if (session.state !== 'closed') session.write(frame(encodeSyncStep1(room.version())), Date.now())
      const waited = early ?? []
      early = null
      for (const message of waited) receive(message)
    })
    .catch((error: unknown) => refuse(session, error, context))
}

function handle(frameBytes: Uint8Array, room: Room, session: Session, context: DoorContext): void {
  const message = decodeMessage(frameBytes)
  switch (message.kind) {
    case 'update':
      room.submit(session, message.update, false)
      return
    case 'sync-step-2':
      room.submit(session, message.update, true)
      return
    case 'sync-step-1':
      room.join(session, message.version).catch((error: unknown) => refuse(session, error, context))
      return
    case 'awareness':
      return room.presence.receive(session, message.awareness)
    case 'query-awareness':
      return room.presence.tell(session, true)
  }
}

function refuse(session: Session, error: unknown, context: DoorContext): void {
  if (error instanceof TidemarkError) {
    context.logger.info({ session: session.id, code: error.code, reason: error.message }, 'session refused')
    session.close(error.code, error.message)
  } else {
    context.logger.error({ session: session.id, err: error }, 'session failed')
    session.close('internal', 'Internal error')
  }
}

/** Throws `forbidden` unless the identity may read the document. */
export function assertReadable(identity: Identity, document: DocumentId): void {
  if (!includes(identity.accessTo(document), 'read'))
    throw new TidemarkError('forbidden', 'This token gives no access to this document')
}
