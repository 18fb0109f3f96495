/**
 * Where the network comes in: one HTTP server for health, metrics and the API, and the WebSocket upgrade.
 *
 *   upgrade → admission (counts only) → origin → token → handshake → access → door
 *
 * Nothing is read from a socket before its token is checked, so whoever has none costs a few kilobytes and a
 * place among `handshakesMax`. Browsers see nothing of a failed upgrade but its failure, and try again for ever; so
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
import { type Gatekeeper, type Identity, isEnded, type Revocations } from '../access/access.ts'
import type { Session } from '../room/session.ts'
import { Admission, type AdmissionLimits, retryAfterSeconds } from './admission.ts'
import { closeSocket } from './close-socket.ts'
import { sendProblem } from './http/problem.ts'
import { type AddressOf, clientAddresses, documentIdOf, queryOf, tokenOf } from './request.ts'
import { acceptYWebsocket, assertReadable, type DoorContext } from './y-websocket-door.ts'

export interface GatewayOptions extends DoorContext {
  readonly host: string
  readonly port: number
  readonly frameBytesMax: number
  readonly admission: AdmissionLimits
  readonly firstMessageMsMax: number
  readonly trustedProxies: readonly string[]
  readonly gatekeeper: Gatekeeper
  readonly revocations: Revocations
  /** Null when ready, else why not. */
  readonly unready: () => string | null
  /** Adds the API's routes. */
  readonly routes: (http: FastifyInstance, gateway: Gateway) => void
}

/** The kernel caps this at net.core.somaxconn; everyone comes back at once after a restart. */
const listenBacklog = 8192
const pingEveryMs = 15_000
/** y-websocket clients drop a connection on which no message came for 30 s. */
const silenceMsMax = 15_000
const beatMs = 1_000
/** Of a request, its headers, and of the time between two requests on one connection. */
const requestMsMax = 30_000
const headersMsMax = 10_000
const keepAliveMs = 5_000
/** A document id of which every byte is a percent sign, encoded. */
const paramLengthMax = 3 * documentIdBytesMax
/** Beside the sessions: requests over HTTP, and those that are being turned away. */
const socketsBeside = 1_000

interface Connection {
  readonly ws: WebSocket
  readonly session: Session
  readonly token: string | null
  readonly openedMs: number
  lastPingMs: number
  answered: boolean
  renewing: boolean
}

export class Gateway {
  private readonly options: GatewayOptions
  private readonly http: FastifyInstance
  private readonly websockets: WebSocketServer
  private readonly connections = new Set<Connection>()
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
    this.http.server.maxConnections = options.admission.sessionsMax + socketsBeside
    this.websockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: options.frameBytesMax,
      clientTracking: false,
    })
    this.healthRoutes()
    options.routes(this.http, this)
    this.http.server.on('upgrade', (request, socket: Socket, head) => this.upgrade(request, socket, head))
  }

  get connectionCount(): number {
    return this.connections.size
  }

  /** The URL it listens on. */
  async start(): Promise<string> {
    const { host, port, revocations } = this.options
    this.stopListening = revocations.onRevoked((revocation) => {
      for (const { session } of this.connections)
        if (isEnded(revocation, session.identity, session.document))
          session.close('revoked', 'An administrator ended this session')
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
    for (const { session } of this.connections) session.close('shutting_down', 'The server is shutting down')
    const deadlineMs = Date.now() + graceMs
    while (this.connections.size > 0 && Date.now() < deadlineMs)
      await new Promise((done) => setTimeout(done, 20))
    for (const { ws } of this.connections) ws.terminate()
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
    if (refusal !== null) return this.turnAway(socket, refusal)
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
    let outcome: { readonly identity: Identity } | { readonly error: unknown }
    try {
      if (!gatekeeper.allowsOrigin(origin, host))
        throw new TidemarkError('origin_forbidden', 'Pages of this origin may not connect')
      outcome = { identity: await gatekeeper.identify(token, documentIdOf(request)) }
    } catch (error) {
      outcome = { error }
    } finally {
      this.admission.handshakeEnded()
    }
    if (socket.destroyed) return
    if (this.draining) return this.turnAway(socket, 'shutting_down')
    this.websockets.handleUpgrade(request, socket, head, (ws) => {
      socket.off('error', ignore)
      try {
        if ('error' in outcome) throw outcome.error
        this.enter(ws, socket, request, outcome.identity, token)
      } catch (error) {
        this.refuse(ws, error)
      }
    })
  }

  private enter(
    ws: WebSocket,
    socket: Socket,
    request: IncomingMessage,
    identity: Identity,
    token: string | null,
  ): void {
    const document = documentIdOf(request)
    assertReadable(identity, document)
    const { subject } = identity
    this.admission.enterUser(subject)
    ws.once('close', () => this.admission.leaveUser(subject))
    const session = acceptYWebsocket(
      { ws, socket, document, identity, query: queryOf(request) },
      this.options,
    )
    const nowMs = Date.now()
    const connection: Connection = {
      ws,
      session,
      token,
      openedMs: nowMs,
      lastPingMs: nowMs,
      answered: true,
      renewing: false,
    }
    this.connections.add(connection)
    ws.on('pong', () => {
      connection.answered = true
    })
    ws.on('close', () => this.connections.delete(connection))
  }

  /** After the handshake, so that browsers see the code. */
  private refuse(ws: WebSocket, error: unknown): void {
    const { logger, metrics } = this.options
    ws.on('error', ignore)
    const told = error instanceof TidemarkError
    if (told) logger.info({ code: error.code, reason: error.message }, 'connection refused')
    else logger.error({ err: error }, 'connection failed')
    const code = told ? error.code : 'internal'
    metrics.refused(code)
    closeSocket(ws, code, told ? error.message : 'Internal error')
  }

  /** Without a handshake: for what another moment changes. */
  private turnAway(socket: Socket, code: ErrorCode): void {
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
    for (const connection of this.connections) {
      const { ws, session } = connection
      if (session.state === 'closed') continue
      if (nowMs - connection.lastPingMs >= pingEveryMs) {
        // A session that is held back cannot be heard: its answer waits in its socket.
        if (!connection.answered && !session.paused) {
          ws.terminate()
          continue
        }
        connection.answered = false
        connection.lastPingMs = nowMs
        ws.ping()
      }
      if (session.silent && nowMs - connection.openedMs >= this.options.firstMessageMsMax) {
        session.close('first_message_late', 'Nothing was sent after the handshake')
        continue
      }
      const { expiresMs } = session.identity
      if (expiresMs !== null && nowMs >= expiresMs) this.expire(connection)
      if (nowMs - session.lastSentMs >= silenceMsMax) session.write(session.dialect.keepAlive(), nowMs)
    }
  }

  private expire(connection: Connection): void {
    const { session, token } = connection
    if (!session.identity.renewable) return session.close('token_expired', 'The token has expired')
    if (connection.renewing) return
    connection.renewing = true
    this.options.gatekeeper
      .identify(token, session.document)
      .then((identity) => {
        assertReadable(identity, session.document)
        session.renew(identity)
      })
      .catch((error: unknown) => {
        const told = error instanceof TidemarkError
        session.close(told ? error.code : 'internal', told ? error.message : 'Internal error')
      })
      .finally(() => {
        connection.renewing = false
      })
  }
}

const ignore = (): void => undefined
