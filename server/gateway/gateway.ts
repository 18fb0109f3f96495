/**
 * Where the network comes in: one HTTP server for health and metrics, and the WebSocket upgrade.
 *
 * Limits that hold for every door live here: connections, frame size, heartbeats (a peer that does
 * not answer a ping within one round is dropped), and a frame now and then for clients that take
 * silence for death. permessage-deflate is off: it costs more CPU and memory than all else, and
 * would make shared frames impossible.
 */
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Session } from '../room/session.ts'
import { acceptYWebsocket, type DoorContext } from './y-websocket-door.ts'

export interface GatewayOptions extends DoorContext {
  readonly host: string
  readonly port: number
  readonly frameBytesMax: number
  readonly sessionsMax: number
  /** Null when ready, else why not. */
  readonly unready: () => string | null
}

/** The kernel caps this at net.core.somaxconn; everyone comes back at once after a restart. */
const listenBacklog = 8192
const pingEveryMs = 15_000
/** y-websocket clients drop a connection on which no message came for 30 s. */
const silenceMsMax = 15_000
const heartbeatMs = 5_000

interface Connection {
  readonly ws: WebSocket
  readonly session: Session
  lastPingMs: number
  answered: boolean
}

export class Gateway {
  private readonly options: GatewayOptions
  private readonly http: FastifyInstance
  private readonly websockets: WebSocketServer
  private readonly connections = new Set<Connection>()
  private heartbeat: NodeJS.Timeout | null = null
  private draining = false

  constructor(options: GatewayOptions) {
    this.options = options
    this.http = Fastify({ logger: false, forceCloseConnections: true })
    this.websockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: options.frameBytesMax,
      clientTracking: false,
    })
    this.routes()
    this.http.server.on('upgrade', (request, socket: Socket, head) => this.upgrade(request, socket, head))
  }

  get connectionCount(): number {
    return this.connections.size
  }

  /** The URL it listens on. */
  async start(): Promise<string> {
    const { host, port } = this.options
    await this.http.listen({ host, port, backlog: listenBacklog })
    this.heartbeat = setInterval(() => this.beat(Date.now()), heartbeatMs)
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
    if (this.heartbeat !== null) clearInterval(this.heartbeat)
    for (const { session } of this.connections) session.close('shutting_down', 'The server is shutting down')
    const deadlineMs = Date.now() + graceMs
    while (this.connections.size > 0 && Date.now() < deadlineMs)
      await new Promise((done) => setTimeout(done, 20))
    for (const { ws } of this.connections) ws.terminate()
    await this.http.close()
  }

  private routes(): void {
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
    const ignore = (): void => undefined
    socket.on('error', ignore)
    if (this.draining || this.connections.size >= this.options.sessionsMax) return refuseUpgrade(socket)
    this.websockets.handleUpgrade(request, socket, head, (ws) => {
      socket.off('error', ignore)
      const session = acceptYWebsocket(ws, request, socket, this.options)
      const connection: Connection = { ws, session, lastPingMs: Date.now(), answered: true }
      this.connections.add(connection)
      ws.on('pong', () => {
        connection.answered = true
      })
      ws.on('close', () => this.connections.delete(connection))
    })
  }

  private beat(nowMs: number): void {
    for (const connection of this.connections) {
      const { ws, session } = connection
      if (nowMs - connection.lastPingMs >= pingEveryMs) {
        if (!connection.answered) {
          ws.terminate()
          continue
        }
        connection.answered = false
        connection.lastPingMs = nowMs
        ws.ping()
      }
      if (nowMs - session.lastSentMs >= silenceMsMax && session.state !== 'closed') {
        session.write(session.dialect.keepAlive(), nowMs)
      }
    }
  }
}

function refuseUpgrade(socket: Socket): void {
  socket.end(
    'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
  )
}
