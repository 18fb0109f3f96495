/**
 * Where the network comes in: one HTTP server for health, metrics and the API, and the WebSocket upgrade.
 *
 *   upgrade → admission (counts only) → origin → token → handshake → access → door
 *
 * The subprotocol chooses the door: `tidemark.v1`, where a token may also come in a message and access is a matter of
 * each document. Without one the path does: `/hocuspocus`, where tokens come in messages, `/automerge`, or a document of the
 * y-websocket door.
 *
 * Nothing is read from a socket before its token, if it must have one, is checked, so whoever has none costs a few
 * kilobytes and a place among `handshakesMax`. Browsers see nothing of a failed upgrade but its failure, and try again for ever; so
 * whoever is refused for what a retry cannot change gets the handshake and then a close code that says so.
 *
 * Limits that hold for every door live here: connections, frame size, time to the first message, the end of
 * a token, heartbeats (a peer that does not answer a ping within one round is dropped), and a frame now and
 * then for clients that take silence for death. permessage-deflate is off: it costs more CPU and memory
 * than all else, and would make shared frames impossible.
 */
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { type WebSocket, WebSocketServer } from 'ws'
import { documentIdBytesMax } from '../../core/document-id.ts'
import { type ErrorCode, errorTable, TidemarkError } from '../../core/protocol/errors.ts'
import { subprotocol } from '../../core/protocol/tidemark-v1/messages.ts'
import type { Revocations } from '../access/access.ts'
import { Admission, type AdmissionLimits, retryAfterSeconds } from './admission.ts'
import {
  type AutomergeContext,
  AutomergeShared,
  acceptAutomerge,
  automergeFrameBytesMax,
} from './automerge-door.ts'
import { closeSocket } from './close-socket.ts'
import { type Arrival, assertReadable, type Connection, type DoorContext, toldOf } from './door.ts'
import { HocuspocusDialects } from './hocuspocus-dialect.ts'
import { acceptHocuspocus, type HocuspocusContext, hocuspocusFrameBytesMax } from './hocuspocus-door.ts'
import { noSuchRoute, sendProblem } from './http/problem.ts'
import {
  type AddressOf,
  clientAddresses,
  documentIdOf,
  isAutomerge,
  isHocuspocus,
  offers,
  queryOf,
  tokenOf,
} from './request.ts'
import { identifyConnection } from './tidemark-bearer.ts'
import { Channels, partBytes } from './tidemark-dialect.ts'
import { acceptTidemark, type TidemarkContext } from './tidemark-door.ts'
import { acceptYWebsocket } from './y-websocket-door.ts'

export interface GatewayOptions extends DoorContext {
  readonly host: string
  readonly port: number
  /** Of one message; in the tidemark.v1 door put together from its parts. */
  readonly frameBytesMax: number
  readonly documentsPerSocketMax: number
  readonly updateBytesMax: number
  /** Of documents of the automerge-repo door. */
  readonly automergePrefix: string
  /** Requests that stay: live queries. */
  readonly listenersMax?: number
  /** What an ack is worth now. */
  readonly durability: () => string
  readonly admission: AdmissionLimits
  readonly firstMessageMsMax: number
  readonly trustedProxies: readonly string[]
  readonly revocations: Revocations
  /** Null when ready, else why not. */
  readonly unready: () => string | null
  /** Adds the API's routes. */
  readonly routes: (http: FastifyInstance, gateway: Gateway) => void
}

/** The kernel caps this at net.core.somaxconn; everyone comes back at once after a restart. */
const listenBacklog = 8192
const pingEveryMs = 15_000
const beatMs = 1_000
/** Of a request, its headers, and of the time between two requests on one connection. */
const requestMsMax = 30_000
const headersMsMax = 10_000
const keepAliveMs = 5_000
/** A document id of which every byte is a percent sign, encoded. */
const paramLengthMax = 3 * documentIdBytesMax
/** Beside the sessions: requests over HTTP, and those that are being turned away. */
const socketsBeside = 1_000

interface Peer {
  readonly ws: WebSocket
  readonly connection: Connection
  readonly openedMs: number
  lastPingMs: number
  answered: boolean
}

export class Gateway {
  private readonly options: GatewayOptions
  private readonly http: FastifyInstance
  private readonly websockets: WebSocketServer
  private readonly peers = new Set<Peer>()
  private readonly tidemarkSockets: WebSocketServer
  private readonly hocuspocusSockets: WebSocketServer
  private readonly tidemark: TidemarkContext
  private readonly hocuspocus: HocuspocusContext
  private readonly automergeSockets: WebSocketServer
  private readonly automerge: AutomergeContext
  private readonly admission: Admission
  private readonly addressOf: AddressOf
  private stopListening: () => void = () => undefined
  private heartbeat: NodeJS.Timeout | null = null
  private beatDueMs = 0
  private draining = false

  constructor(options: GatewayOptions) {
    this.options = options
    this.admission = new Admission(options.admission)
    this.addressOf = clientAddresses(options.trustedProxies)
    this.http = Fastify({
      logger: false,
      forceCloseConnections: true,
      trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
      requestTimeout: requestMsMax,
      keepAliveTimeout: keepAliveMs,
      http: { headersTimeout: headersMsMax, connectionsCheckingInterval: beatMs },
      routerOptions: { maxParamLength: paramLengthMax },
      frameworkErrors: (error, request, reply) => sendProblem(error, request, reply, options),
    })
    this.http.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, options))
    this.http.setNotFoundHandler(noSuchRoute)
    this.http.server.maxConnections =
      options.admission.sessionsMax + (options.listenersMax ?? 0) + socketsBeside
    const websockets = { noServer: true, perMessageDeflate: false, clientTracking: false }
    this.websockets = new WebSocketServer({ ...websockets, maxPayload: options.frameBytesMax })
    this.hocuspocusSockets = new WebSocketServer({
      ...websockets,
      maxPayload: hocuspocusFrameBytesMax(options.frameBytesMax),
    })
    this.automergeSockets = new WebSocketServer({
      ...websockets,
      maxPayload: automergeFrameBytesMax(options.frameBytesMax),
    })
    this.tidemarkSockets = new WebSocketServer({
      ...websockets,
      maxPayload: partBytes,
      handleProtocols: () => subprotocol,
    })
    const users = {
      enterUser: (subject: string) => this.admission.enterUser(subject),
      leaveUser: (subject: string) => this.admission.leaveUser(subject),
    }
    this.tidemark = {
      ...options,
      ...users,
      channels: new Channels(),
      messageBytesMax: options.frameBytesMax,
    }
    this.hocuspocus = { ...options, ...users, dialects: new HocuspocusDialects() }
    const { automergePrefix: documentPrefix } = options
    this.automerge = { ...options, ...users, documentPrefix, shared: new AutomergeShared() }
    this.healthRoutes()
    options.routes(this.http, this)
    this.http.server.on('upgrade', (request, socket: Socket, head) => this.upgrade(request, socket, head))
  }

  get connectionCount(): number {
    return this.peers.size
  }

  /** Written to sockets that do not take it: what slow readers cost. */
  get bufferedBytes(): number {
    let bytes = 0
    for (const { ws } of this.peers) bytes += ws.bufferedAmount
    return bytes
  }

  /** The URL it listens on. */
  /** What a start takes longest for, compiling the routes; may be done while others start. */
  async prepare(): Promise<void> {
    await this.http.ready()
  }

  async start(): Promise<string> {
    const { host, port, revocations } = this.options
    this.stopListening = revocations.onRevoked((revocation) => {
      for (const { connection } of this.peers) connection.revoked(revocation)
    })
    await this.http.listen({ host, port, backlog: listenBacklog })
    this.beatDueMs = Date.now() + beatMs
    this.heartbeat = setInterval(() => this.beat(Date.now()), beatMs)
    const address = this.http.server.address() as AddressInfo
    const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address
    return `http://${shown}:${address.port}`
  }

  /** Stop taking connections; those that are open go on. */
  drain(): void {
    this.draining = true
  }

  /** Tell everyone to come back, wait for their sockets at most `graceMs`, then cut them. */
  async close(graceMs: number): Promise<void> {
    this.draining = true
    this.stopListening()
    if (this.heartbeat !== null) clearInterval(this.heartbeat)
    for (const { connection } of this.peers) connection.close('shutting_down', 'The server is shutting down')
    const deadlineMs = Date.now() + graceMs
    while (this.peers.size > 0 && Date.now() < deadlineMs) await new Promise((done) => setTimeout(done, 20))
    for (const { ws } of this.peers) ws.terminate()
    await this.http.close()
  }

  private healthRoutes(): void {
    const { metrics, unready } = this.options
    this.http.get('/healthz', () => ({ status: 'ok' }))
    this.http.get('/readyz', async (_request, reply) => {
      const reason = this.draining ? 'shutting down' : unready()
      return reason === null ? { status: 'ready' } : reply.code(503).send({ status: 'unready', reason })
    })
    this.http.get('/metrics', async (_request, reply) => {
      reply.header('content-type', metrics.registry.contentType)
      return metrics.registry.metrics()
    })
  }

  private upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    // Until `ws` takes over, nobody else listens for errors of this socket.
    socket.on('error', ignore)
    const address = this.addressOf(request)
    const refusal = this.draining ? 'shutting_down' : this.admission.enter(address, Date.now())
    if (refusal !== null) return this.turnAway(request, socket, head, refusal)
    socket.once('close', () => this.admission.leave(address))
    this.admit(request, socket, head).catch((error: unknown) => {
      this.options.logger.error({ err: error }, 'upgrade failed')
      socket.destroy()
    })
  }

  private async admit(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const { gatekeeper } = this.options
    const { origin, host } = request.headers
    const token = tokenOf(request)
    const tidemark = offers(request, subprotocol)
    const hocuspocus = !tidemark && isHocuspocus(request)
    const automerge = !tidemark && isAutomerge(request)
    let begin: (arrival: Arrival) => Connection
    try {
      if (!gatekeeper.allowsOrigin(origin, host))
        throw new TidemarkError('origin_forbidden', 'Pages of this origin may not connect')
      if (tidemark) begin = await this.tidemarkDoor(token)
      else if (hocuspocus) begin = (arrival) => acceptHocuspocus(arrival, this.hocuspocus)
      else if (automerge) begin = await this.automergeDoor(host ?? '', token)
      else begin = await this.yWebsocketDoor(request, token)
    } catch (error) {
      begin = () => {
        throw error
      }
    } finally {
      this.admission.handshakeEnded()
    }
    if (socket.destroyed) return
    if (this.draining) return this.turnAway(request, socket, head, 'shutting_down')
    let sockets = this.websockets
    if (tidemark) sockets = this.tidemarkSockets
    else if (hocuspocus) sockets = this.hocuspocusSockets
    else if (automerge) sockets = this.automergeSockets
    // The answer and what the door says first leave in one write.
    socket.cork()
    process.nextTick(() => socket.uncork())
    sockets.handleUpgrade(request, socket, head, (ws) => {
      socket.off('error', ignore)
      try {
        this.watch(ws, begin({ ws, socket, token }))
      } catch (error) {
        this.refuse(ws, error)
      }
    })
  }

  private async tidemarkDoor(token: string | null): Promise<(arrival: Arrival) => Connection> {
    const identity = token === null ? null : await identifyConnection(this.options, token)
    return (arrival) => acceptTidemark({ ...arrival, identity }, this.tidemark)
  }

  private async automergeDoor(host: string, token: string | null): Promise<(arrival: Arrival) => Connection> {
    const identity = await identifyConnection(this.options, token)
    await this.automerge.shared.pace.turn()
    return (arrival) => acceptAutomerge({ ...arrival, identity, host }, this.automerge)
  }

  private async yWebsocketDoor(
    request: IncomingMessage,
    token: string | null,
  ): Promise<(arrival: Arrival) => Connection> {
    const document = documentIdOf(request)
    // Here, because what begins below lives as long as the connection: it would keep the request.
    const echo = queryOf(request).get('echo') === 'true'
    const identity = await this.options.gatekeeper.identify(token, document)
    return (arrival) => {
      assertReadable(identity, document)
      const { subject } = identity
      this.admission.enterUser(subject)
      arrival.ws.once('close', () => this.admission.leaveUser(subject))
      return acceptYWebsocket({ ...arrival, document, identity, echo }, this.options)
    }
  }

  private watch(ws: WebSocket, connection: Connection): void {
    const nowMs = Date.now()
    const peer: Peer = { ws, connection, openedMs: nowMs, lastPingMs: nowMs, answered: true }
    this.peers.add(peer)
    ws.on('pong', () => {
      peer.answered = true
    })
    ws.on('close', () => this.peers.delete(peer))
  }

  /** After the handshake, so that browsers see the code. */
  private refuse(ws: WebSocket, error: unknown): void {
    const { logger, metrics } = this.options
    ws.on('error', ignore)
    const { code, reason } = toldOf(error)
    if (error instanceof TidemarkError) logger.info({ code, reason }, 'connection refused')
    else logger.error({ err: error }, 'connection failed')
    metrics.refused(code)
    closeSocket(ws, code, reason)
  }

  /** Without a handshake, for what another moment changes; but clients of automerge-repo on Node die of an upgrade that fails. */
  private turnAway(request: IncomingMessage, socket: Socket, head: Buffer, code: ErrorCode): void {
    if (isAutomerge(request))
      return this.automergeSockets.handleUpgrade(request, socket, head, (ws) =>
        this.refuse(ws, new TidemarkError(code, 'Come again')),
      )
    this.options.metrics.refused(code)
    const { httpStatus } = errorTable[code]
    socket.once('finish', () => socket.destroy())
    const reason = httpStatus === 429 ? 'Too Many Requests' : 'Service Unavailable'
    socket.end(
      `HTTP/1.1 ${httpStatus} ${reason}\r\nRetry-After: ${retryAfterSeconds()}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    )
  }

  private beat(nowMs: number): void {
    this.admission.lagged(nowMs - this.beatDueMs, nowMs)
    this.beatDueMs = nowMs + beatMs
    for (const peer of this.peers) {
      const { ws, connection } = peer
      if (connection.closed) continue
      if (nowMs - peer.lastPingMs >= (connection.pingEveryMs ?? pingEveryMs)) {
        // A connection that is held back cannot be heard: its answer waits in its socket.
        if (!peer.answered && !connection.paused) {
          ws.terminate()
          continue
        }
        peer.answered = false
        peer.lastPingMs = nowMs
        ws.ping()
      }
      if (connection.silent && nowMs - peer.openedMs >= this.options.firstMessageMsMax)
        connection.close('first_message_late', 'Nothing was sent after the handshake')
      else connection.beat(nowMs)
    }
  }
}

const ignore = (): void => undefined
