/**
 * What goes out on a socket with many documents beside what rooms write to it: answers of the door and of its documents.
 *
 * Answers are small and written at once, but whoever asks and never reads would pile them up: after `unreadBytesMax` of
 * them that a full socket had to take, it is cut. What is large waits for `writable`.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { Drain } from '../room/drain.ts'
import { Flow } from '../room/flow.ts'
import type { SessionLimits } from '../room/session.ts'

/** Answers while the socket is full. */
const unreadBytesMax = 256 * 1024

export class SocketLine {
  readonly socket: Socket
  readonly flow: Flow
  readonly drain: Drain
  /** When an answer was written last. */
  sentMs = Date.now()
  private readonly ws: WebSocket
  private readonly sessionBufferBytesMax: number
  private unreadBytes = 0

  constructor(ws: WebSocket, socket: Socket, limits: SessionLimits) {
    this.ws = ws
    this.socket = socket
    this.sessionBufferBytesMax = limits.sessionBufferBytesMax
    this.drain = new Drain(socket)
    this.flow = new Flow(
      limits,
      () => ws.pause(),
      () => ws.resume(),
    )
    // Each document may wait for the socket to drain.
    socket.setMaxListeners(0)
  }

  /** Complete frames. */
  write(frames: Uint8Array): void {
    if (!this.socket.writable) return
    this.socket.write(frames)
    this.sentMs = Date.now()
    this.unreadBytes = this.full ? this.unreadBytes + frames.length : 0
    if (this.unreadBytes > unreadBytesMax) this.ws.terminate()
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
