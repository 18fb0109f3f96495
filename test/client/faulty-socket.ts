/**
 * A WebSocket between a client and the server's door, in memory, on virtual time, that fails. A real one never loses a frame
 * silently, so what is lost ends the connection; either end learns of that only later:
 *
 *   delay   each frame takes 0 to 500 ms, in order in each direction
 *   drop    a frame is lost, and the connection with it
 *   cut     a frame arrives, and then the connection is gone: the sender cannot know
 */
import { EventEmitter } from 'node:events'
import type { WebSocketLike } from '../../client/types.ts'
import type { VirtualTime } from './virtual-time.ts'

export interface Faults {
  readonly time: VirtualTime
  readonly random: () => number
  /** Of a frame's loss, and as much again of a cut after it; 0: none. */
  lossShare: number
  delayMsMax: number
}

/** What the door takes for `ws` and its socket. */
export class ServerEnd extends EventEmitter {
  readonly socket: ServerSocket
  private readonly line: FaultySocket
  private paused = false
  private unread: Buffer[] = []

  constructor(line: FaultySocket) {
    super()
    this.line = line
    this.socket = new ServerSocket(line)
  }

  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
    while (!this.paused && this.unread.length > 0) this.emit('message', this.unread.shift(), true)
  }
  receive(frame: Buffer): void {
    if (this.paused) this.unread.push(frame)
    else this.emit('message', frame, true)
  }
  close(code: number, reason: Buffer): void {
    this.line.closedByServer(code, reason.toString())
  }
  terminate(): void {
    this.line.cut()
  }
  gone(): void {
    this.unread = []
    this.socket.writable = false
    this.socket.destroyed = true
    this.emit('close')
    this.socket.emit('close')
  }
}

class ServerSocket extends EventEmitter {
  writable = true
  destroyed = false
  readonly writableLength = 0
  readonly writableNeedDrain = false
  private readonly line: FaultySocket
  private bytes = Buffer.alloc(0)

  constructor(line: FaultySocket) {
    super()
    this.line = line
  }

  cork(): void {}
  uncork(): void {}

  /** WebSocket frames as the server writes them: unmasked, whole or in pieces. */
  write(written: Uint8Array): boolean {
    this.bytes = Buffer.concat([this.bytes, written])
    for (;;) {
      const { bytes } = this
      if (bytes.length < 2) return true
      const short = bytes[1]!
      const header = short === 127 ? 10 : short === 126 ? 4 : 2
      if (bytes.length < header) return true
      const length =
        short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short
      if (bytes.length < header + length) return true
      this.line.fromServer(bytes.subarray(header, header + length))
      this.bytes = bytes.subarray(header + length)
    }
  }
}

export class FaultySocket implements WebSocketLike {
  binaryType = ''
  readonly bufferedAmount = 0
  onopen: WebSocketLike['onopen'] = null
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  private readonly faults: Faults
  private server: ServerEnd | null = null
  private broken = false
  /** The last frame of each direction arrives then. */
  private readonly dueMs = { up: 0, down: 0 }

  /** `accept` null: there is no network. */
  constructor(faults: Faults, accept: ((end: ServerEnd) => void) | null) {
    this.faults = faults
    if (accept === null) {
      this.later('down', () => this.closed(1006, ''))
      return
    }
    this.later('up', () => {
      if (this.broken) return
      this.server = new ServerEnd(this)
      accept(this.server)
    })
    // `welcome` follows; it is sent later and cannot overtake this.
    this.dueMs.down = this.dueMs.up
    this.later('down', () => {
      if (!this.broken) (this.onopen as (() => void) | null)?.()
    })
  }

  send(data: Uint8Array): void {
    const frame = Buffer.from(data)
    this.carry('up', () => this.server?.receive(frame))
  }

  fromServer(frame: Buffer): void {
    const data = new Uint8Array(frame).buffer
    this.carry('down', () => this.heard({ data }))
  }

  close(): void {
    this.later('up', () => this.cut())
  }

  closedByServer(code: number, reason: string): void {
    this.later('down', () => {
      if (this.broken) return
      this.broken = true
      this.server?.gone()
      this.closed(code, reason)
    })
  }

  /** Whatever is under way is lost; both ends learn of it, at their times. */
  cut(): void {
    if (this.broken) return
    this.broken = true
    this.later('up', () => this.server?.gone())
    this.later('down', () => this.closed(1006, ''))
  }

  private carry(direction: 'up' | 'down', deliver: () => void): void {
    const { faults } = this
    if (this.broken) return
    const fate = faults.random()
    if (fate < faults.lossShare) return this.cut()
    this.later(direction, () => {
      if (this.broken) return
      deliver()
      if (fate > 1 - faults.lossShare) this.cut()
    })
  }

  private later(direction: 'up' | 'down', then: () => void): void {
    const { time, random, delayMsMax } = this.faults
    const dueMs = Math.max(this.dueMs[direction], time.nowMs + random() * delayMsMax)
    this.dueMs[direction] = dueMs
    time.after(dueMs - time.nowMs, then)
  }

  private heard(event: { data: ArrayBuffer }): void {
    ;(this.onmessage as ((event: { data: ArrayBuffer }) => void) | null)?.(event)
  }

  private closed(code: number, reason: string): void {
    ;(this.onclose as ((event: { code: number; reason: string }) => void) | null)?.({ code, reason })
  }
}
