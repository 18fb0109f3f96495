/** Messages of the door and of its documents on a tidemark.v1 socket. An ack never goes out before what it is worth was told. */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { ServerMessage } from '../../core/protocol/tidemark-v1/messages.ts'
import type { SessionLimits } from '../room/session.ts'
import { SocketLine } from './socket-line.ts'
import { framesOfMessage } from './tidemark-dialect.ts'

export class Line extends SocketLine {
  private readonly durabilityNow: () => string
  /** As it was told last. */
  durability: string

  constructor(ws: WebSocket, socket: Socket, limits: SessionLimits, durabilityNow: () => string) {
    super(ws, socket, limits)
    this.durabilityNow = durabilityNow
    this.durability = durabilityNow()
  }

  send(message: ServerMessage): void {
    if (message.kind === 'ack') this.tellDurability()
    this.write(framesOfMessage(message))
  }

  /** An ack is worth what was told before it. */
  tellDurability(): void {
    const durability = this.durabilityNow()
    if (durability === this.durability) return
    this.durability = durability
    this.send({ kind: 'durability', durability })
  }
}
