/**
 * The door for y-websocket clients: `ws://host:port/<document id>`.
 *
 *   socket opens → enter the room → once it is open: our step 1 → the client's messages, in order
 *
 * What comes before the room is open waits here, at most `earlyBytesMax`. Whatever is refused closes
 * the socket with a row of the error table and its reason, and concerns nobody else.
 */
import type { DocumentId } from '../../core/document-id.ts'
import { noOffset } from '../../core/offset.ts'
import { type ErrorCode, errorTable, TidemarkError } from '../../core/protocol/errors.ts'
import { decodeMessage, encodeDenied, encodeSyncStep1 } from '../../core/protocol/y-websocket.ts'
import { type Identity, isEnded, type Revocation } from '../access/access.ts'
import { Drain } from '../room/drain.ts'
import { Flow } from '../room/flow.ts'
import type { Room } from '../room/room.ts'
import { Session } from '../room/session.ts'
import { closeSocket } from './close-socket.ts'
import { type Arrival, assertReadable, type Connection, type DoorContext, toldOf } from './door.ts'
import { frame } from './websocket-frame.ts'
import { keepAliveFrame, syncStep2Frame, yWebsocketDialect } from './y-websocket-dialect.ts'

/** Messages that wait for the room to open, per session. */
const earlyBytesMax = 4 * 1024 * 1024
/** These clients drop a connection on which no message came for 30 s. */
const silenceMsMax = 15_000

export interface YWebsocketArrival extends Arrival {
  readonly document: DocumentId
  /** It may at least read the document. */
  readonly identity: Identity
  /** Its own updates are sent back to it, so that it sees what is durable. */
  readonly echo: boolean
}

export function acceptYWebsocket(arrival: YWebsocketArrival, context: DoorContext): Connection {
  const { ws, socket, document, identity, echo } = arrival
  const flow = new Flow(
    context.limits,
    () => ws.pause(),
    () => ws.resume(),
  )
  const session = new Session({
    document,
    identity,
    dialect: yWebsocketDialect,
    socket,
    echo,
    flow,
    drain: new Drain(socket),
    close: (code, reason) => {
      flow.end()
      context.metrics.refused(code)
      // y-websocket clients show the reason of a denial; most show nothing of a close.
      if (!errorTable[code].retryable) session.write(frame(encodeDenied(reason)), Date.now())
      closeSocket(ws, code, reason)
    },
    limits: context.limits,
  })
  ws.on('close', () => flow.end())
  try {
    converse(arrival, session, context)
  } catch (error) {
    refuse(session, error, context)
  }
  return new YWebsocketConnection(arrival, session, flow, context)
}

function converse({ ws }: YWebsocketArrival, session: Session, context: DoorContext): void {
  const { document } = session
  const room = context.rooms.enter(document, () => session)
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
      if (session.state !== 'closed')
        session.write(frame(encodeSyncStep1(room.version(session.engine))), Date.now())
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
      room
        .join(session, { version: message.version, offset: noOffset }, syncStep2Frame)
        .catch((error: unknown) => refuse(session, error, context))
      return
    case 'awareness':
      return room.presence.receive(session, message.awareness)
    case 'query-awareness':
      return room.presence.tell(session, true)
  }
}

function refuse(session: Session, error: unknown, { logger }: DoorContext): void {
  const { code, reason } = toldOf(error)
  if (error instanceof TidemarkError) logger.info({ session: session.id, code, reason }, 'session refused')
  else logger.error({ session: session.id, err: error }, 'session failed')
  session.close(code, reason)
}

class YWebsocketConnection implements Connection {
  private readonly arrival: YWebsocketArrival
  private readonly session: Session
  private readonly flow: Flow
  private readonly context: DoorContext
  private renewing = false

  constructor(arrival: YWebsocketArrival, session: Session, flow: Flow, context: DoorContext) {
    this.arrival = arrival
    this.session = session
    this.flow = flow
    this.context = context
  }

  get closed(): boolean {
    return this.session.state === 'closed'
  }

  get silent(): boolean {
    return this.session.silent
  }

  get paused(): boolean {
    return this.flow.paused
  }

  close(code: ErrorCode, reason: string): void {
    this.session.close(code, reason)
  }

  revoked(revocation: Revocation): void {
    const { identity, document } = this.session
    if (isEnded(revocation, identity, document)) this.close('revoked', 'An administrator ended this session')
  }

  beat(nowMs: number): void {
    const { session } = this
    const { expiresMs } = session.identity
    if (expiresMs !== null && nowMs >= expiresMs) this.expire()
    if (nowMs - session.lastSentMs >= silenceMsMax) session.write(keepAliveFrame, nowMs)
  }

  private expire(): void {
    const { session, context, arrival } = this
    const { document } = session
    if (!session.identity.renewable) return session.close('token_expired', 'The token has expired')
    if (this.renewing) return
    this.renewing = true
    context.gatekeeper
      .identify(arrival.token, document)
      .then((identity) => {
        assertReadable(identity, document)
        session.renew(identity)
      })
      .catch((error: unknown) => {
        const { code, reason } = toldOf(error)
        session.close(code, reason)
      })
      .finally(() => {
        this.renewing = false
      })
  }
}
