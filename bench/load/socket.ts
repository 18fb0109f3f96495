/**
 * A WebSocket client on a raw socket, as thin as it can be, so that the load generator is not what is
 * measured: it upgrades once, walks frame headers in the buffer that the kernel filled (one buffer for
 * all sockets, nothing is copied), and hands out positions. Only a frame that straddles two reads, or
 * comes in fragments, is put together in a buffer of its own.
 *
 * `onFrame` gets data frames only; the bytes are valid until the end of `onRead`, which follows once
 * for each read. Pings are answered.
 */
import { connect, type Socket } from 'node:net'
import { clientFrame } from './frames.ts'

export interface LoadSocketHandlers {
  onOpen(): void
  onFrame(bytes: Buffer, start: number, end: number): void
  onRead(): void
  /** Anything but our own `end()`. */
  onBroken(reason: string): void
}

export interface Address {
  readonly host: string
  readonly port: number
}

const readBytes = 512 * 1024
const readBuffer = Buffer.allocUnsafeSlow(readBytes)
const upgradeEnd = Buffer.from('\r\n\r\n')

export class LoadSocket {
  private readonly socket: Socket
  private readonly handlers: LoadSocketHandlers
  private state: 'connecting' | 'open' | 'closed' = 'connecting'
  private upgrade = Buffer.alloc(0)
  /** The frame that the last read ended in. */
  private carry = Buffer.allocUnsafe(256)
  private carryLength = 0
  /** The buffer of the carried frame just handed out, whose bytes must stay until `onRead`. */
  private spare = Buffer.allocUnsafe(256)
  private fragments: Buffer[] = []

  constructor(address: Address, path: string, handlers: LoadSocketHandlers) {
    this.handlers = handlers
    this.socket = connect({
      ...address,
      noDelay: true,
      onread: { buffer: readBuffer, callback: (length, bytes) => this.read(bytes as Buffer, length) },
    })
    this.socket.once('connect', () => {
      this.socket.write(
        `GET /${path} HTTP/1.1\r\nHost: ${address.host}:${address.port}\r\nUpgrade: websocket\r\n` +
          'Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
      )
    })
    this.socket.on('error', (error) => this.broken(error.message))
    this.socket.on('close', () => this.broken('connection closed'))
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  end(): void {
    this.state = 'closed'
    this.socket.destroy()
  }

  private broken(reason: string): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.socket.destroy()
    this.handlers.onBroken(reason)
  }

  private read(bytes: Buffer, length: number): boolean {
    if (this.state === 'closed') return true
    let from = 0
    if (this.state === 'connecting') {
      const head = Buffer.concat([this.upgrade, bytes.subarray(0, length)])
      const end = head.indexOf(upgradeEnd)
      if (end < 0) {
        this.upgrade = head
        return true
      }
      const status = head.toString('latin1', 0, head.indexOf('\r'))
      if (!status.includes(' 101 ')) {
        this.broken(`not upgraded: ${status}`)
        return true
      }
      from = end + 4 - this.upgrade.length
      this.state = 'open'
      this.handlers.onOpen()
    }
    if (this.carryLength > 0) from = this.finishCarry(bytes, from, length)
    if (from >= 0) this.walk(bytes, from, length)
    this.handlers.onRead()
    return true
  }

  private walk(bytes: Buffer, from: number, length: number): void {
    let at = from
    while (at + 2 <= length) {
      let size = bytes[at + 1]!
      let start = at + 2
      if (size === 126) {
        if (start + 2 > length) break
        size = (bytes[start]! << 8) | bytes[start + 1]!
        start += 2
      } else if (size === 127) {
        if (start + 8 > length) break
        size = bytes.readUInt32BE(start) * 0x100000000 + bytes.readUInt32BE(start + 4)
        start += 8
      }
      const end = start + size
      if (end > length) break
      if (bytes[at] === 0x82) this.handlers.onFrame(bytes, start, end)
      else this.otherFrame(bytes, at, start, end)
      at = end
    }
    this.keep(bytes, at, length)
  }

  private keep(bytes: Buffer, from: number, to: number): void {
    const needed = this.carryLength + to - from
    if (needed > this.carry.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.carry.length * 2))
      this.carry.copy(grown, 0, 0, this.carryLength)
      this.carry = grown
    }
    bytes.copy(this.carry, this.carryLength, from, to)
    this.carryLength = needed
  }

  /** Completes the carried frame alone; returns where the rest of the read starts, or -1 if there is none. */
  private finishCarry(bytes: Buffer, from: number, length: number): number {
    let at = from
    for (;;) {
      const missing = this.missing()
      if (missing === 0) break
      const taken = Math.min(missing, length - at)
      if (taken === 0) return -1
      this.keep(bytes, at, at + taken)
      at += taken
    }
    const frame = this.carry
    const frameLength = this.carryLength
    this.carry = this.spare
    this.spare = frame
    this.carryLength = 0
    this.walk(frame, 0, frameLength)
    return at
  }

  /** Bytes that the carried frame still lacks, as far as can be told from what is there. */
  private missing(): number {
    const have = this.carryLength
    if (have < 2) return 2 - have
    const size = this.carry[1]!
    const header = size === 126 ? 4 : size === 127 ? 10 : 2
    if (have < header) return header - have
    if (header === 2) return 2 + size - have
    const payload = header === 4 ? this.carry.readUInt16BE(2) : Number(this.carry.readBigUInt64BE(2))
    return header + payload - have
  }

  private otherFrame(bytes: Buffer, at: number, start: number, end: number): void {
    const opcode = bytes[at]! & 15
    if (opcode === 9) this.write(clientFrame(bytes.subarray(start, end), 10))
    else if (opcode === 8) {
      const code = end - start >= 2 ? bytes.readUInt16BE(start) : 1005
      this.broken(
        `closed by the server: ${code} ${bytes.toString('utf8', start + 2, Math.max(start + 2, end))}`,
      )
    } else if (opcode === 0 || opcode === 2) {
      this.fragments.push(Buffer.from(bytes.subarray(start, end)))
      if ((bytes[at]! & 0x80) === 0) return
      const whole = Buffer.concat(this.fragments)
      this.fragments = []
      this.handlers.onFrame(whole, 0, whole.length)
    } else if (opcode !== 10) this.broken(`unexpected frame ${bytes[at]}`)
  }
}
