/**
 * The door for y-websocket clients: `ws://host:port/<document id>`.
 *
 *   socket opens → enter the room → once it is open: our step 1 → the client's messages, in order
 *
 * What comes before the room is open waits here, at most `earlyBytesMax`. Whatever is refused closes
 * the socket with a row of the error table and its reason, and concerns nobody else.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import { type ErrorCode, errorTable, TidemarkError } from '../../core/protocol/errors.ts'
import { decodeMessage, encodeDenied, encodeSyncStep1 } from '../../core/protocol/y-websocket.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { Room } from '../room/room.ts'
import type { Rooms } from '../room/rooms.ts'
import { newSessionId, Session, type SessionLimits } from '../room/session.ts'
import { frame } from './websocket-frame.ts'
import { yWebsocketDialect } from './y-websocket-dialect.ts'

export interface DoorContext {
  readonly rooms: Rooms
  readonly limits: SessionLimits
  readonly logger: Logger
  readonly metrics: Metrics
}

/** Messages that wait for the room to open, per session. */
const earlyBytesMax = 4 * 1024 * 1024
/** A close frame holds at most 125 bytes, two of them the code. */
const closeReasonBytesMax = 123

/** Paths that other doors will have; no document may hide behind them. */
const reservedPaths: ReadonlySet<string> = new Set(['automerge', 'hocuspocus'])

/** The id in a request's path; throws `invalid_document_id`. */
export function documentIdOf(request: IncomingMessage): DocumentId {
  const path = (request.url ?? '/').slice(1).split('?', 1)[0] ?? ''
  let decoded: string
  try {
    decoded = decodeURIComponent(path)
  } catch {
    throw new TidemarkError('invalid_document_id', 'Document id is not valid percent-encoding')
  }
  if (reservedPaths.has(decoded)) {
    throw new TidemarkError('invalid_document_id', `The path ${decoded} is reserved for another dialect`)
  }
  return parseDocumentId(decoded)
}

export function acceptYWebsocket(
  ws: WebSocket,
  request: IncomingMessage,
  socket: Socket,
  context: DoorContext,
): Session {
  const query = new URLSearchParams(request.url?.split('?', 2)[1] ?? '')
  const session = new Session({
    id: newSessionId(),
    author: '',
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
    converse(ws, documentIdOf(request), session, context)
  } catch (error) {
    refuse(session, error, context)
  }
  return session
}

function converse(ws: WebSocket, document: DocumentId, session: Session, context: DoorContext): void {
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
    context.metrics.received(message.length)
    if (early === null) return receive(message)
    early.push(message)
    earlyBytes += message.length
    if (earlyBytes > earlyBytesMax)
      session.close('overloaded', 'Too much was sent before the document was open')
  })
  ws.on('close', () => context.rooms.leave(room, session))
  ws.on('error', (error) => context.logger.debug({ document, err: error }, 'socket error'))

  room.opened.then(
    () => {
      if (session.state !== 'closed') session.write(frame(encodeSyncStep1(room.version())), Date.now())
      const waited = early ?? []
      early = null
      for (const message of waited) receive(message)
    },
    (error: unknown) => refuse(session, error, context),
  )
}

function handle(frameBytes: Uint8Array, room: Room, session: Session, context: DoorContext): void {
  const message = decodeMessage(frameBytes)
  switch (message.kind) {
    case 'update':
      return room.submit(session, message.update, false)
    case 'sync-step-2':
      return room.submit(session, message.update, true)
    case 'sync-step-1':
      room.join(session, message.version).catch((error: unknown) => refuse(session, error, context))
      return
    case 'awareness':
      return room.receiveAwareness(session, message.awareness)
    case 'query-awareness':
      return room.answerAwareness(session)
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

export function closeSocket(ws: WebSocket, code: ErrorCode, reason: string): void {
  const text = Buffer.from(`${code}: ${reason}`)
  // Cut at a character's start, or the frame would not be valid UTF-8.
  let end = Math.min(text.length, closeReasonBytesMax)
  while (end < text.length && end > 0 && (text[end]! & 0xc0) === 0x80) end--
  ws.close(errorTable[code].closeCode, text.subarray(0, end))
}
