/**
 * What goes out on a tidemark.v1 socket beside what rooms write to it: answers of the door and of its documents.
 *
 * Answers are small and written at once, but whoever asks and never reads would pile them up: after `unreadBytesMax` of
 * them that a full socket had to take, it is cut. What is large waits for `writable`.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { ServerMessage } from '../../core/protocol/tidemark-v1/messages.ts'
import { Drain } from '../room/drain.ts'
import { Flow } from '../room/flow.ts'
import type { SessionLimits } from '../room/session.ts'
import { framesOfMessage } from './tidemark-dialect.ts'

/** Answers while the socket is full. */
const unreadBytesMax = 256 * 1024

export class Line {
  readonly socket: Socket
  readonly flow: Flow
  readonly drain: Drain
  private readonly ws: WebSocket
  private readonly sessionBufferBytesMax: number
  private readonly durabilityNow: () => string
  /** As it was told last. */
  durability: string
  private unreadBytes = 0

  constructor(ws: WebSocket, socket: Socket, limits: SessionLimits, durabilityNow: () => string) {
    this.ws = ws
    this.socket = socket
    this.sessionBufferBytesMax = limits.sessionBufferBytesMax
    this.durabilityNow = durabilityNow
    this.durability = durabilityNow()
    this.drain = new Drain(socket)
    this.flow = new Flow(
      limits,
      () => ws.pause(),
      () => ws.resume(),
    )
    // Each document may wait for the socket to drain.
    socket.setMaxListeners(0)
  }

  send(message: ServerMessage): void {
    if (!this.socket.writable) return
    if (message.kind === 'ack') this.tellDurability()
    const bytes = framesOfMessage(message)
    this.socket.write(bytes)
    this.unreadBytes = this.full ? this.unreadBytes + bytes.length : 0
    if (this.unreadBytes > unreadBytesMax) this.ws.terminate()
  }

  /** An ack is worth what was told before it. */
  tellDurability(): void {
    const durability = this.durabilityNow()
    if (durability === this.durability) return
    this.durability = durability
    this.send({ kind: 'durability', durability })
  }

  /** Resolves when the socket can take more, or is closed. */
  writable(): Promise<void> {
    if (!this.full || this.socket.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      const again = (): void => {
        this.socket.off('drain', again)
        this.socket.off('close', again)
        resolve(this.writable())
      }
      this.socket.on('drain', again)
      this.socket.on('close', again)
    })
  }

  private get full(): boolean {
    return this.socket.writableLength > this.sessionBufferBytesMax
  }
}
