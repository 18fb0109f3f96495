/**
 * A Hocuspocus client that does what the test says and nothing else, over lib0's own coding: it can send what no provider
 * would, and keeps every message in the order in which it came, as `type …` in words.
 */
import { once } from 'node:events'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import WebSocket from 'ws'
import { until } from './wait.ts'

export class HocuspocusRaw {
  /** `address: what it says`. */
  readonly messages: string[] = []
  /** Of all steps 2 and updates, in order. */
  readonly updates: Uint8Array[] = []
  closeCode: number | null = null
  closeReason = ''
  readonly socket: WebSocket
  private readonly closing: Promise<void>

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.binaryType = 'nodebuffer'
    socket.on('message', (bytes: Buffer) => this.receive(bytes))
    socket.on('error', () => undefined)
    this.closing = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        this.closeCode = code
        this.closeReason = reason.toString()
        resolve()
      })
    })
  }

  /** Resolves when the socket is open. */
  static async connect(relay: string): Promise<HocuspocusRaw> {
    const socket = new WebSocket(`${relay}/hocuspocus`)
    const client = new HocuspocusRaw(socket)
    await once(socket, 'open')
    return client
  }

  send(address: string, ...parts: (number | string | Uint8Array)[]): void {
    this.socket.send(encode(address, ...parts))
  }

  auth(address: string, token: string, version?: string): void {
    this.send(address, 2, 0, token, ...(version === undefined ? [] : [version]))
  }

  /** Opens it and waits for step 2. */
  async open(address: string, token = ''): Promise<void> {
    this.auth(address, token)
    this.send(address, 0, 0, Uint8Array.of(0))
    await until(`${address} is open`, () => this.of(address).includes('step 2'))
  }

  of(address: string): string[] {
    const start = `${address}: `
    return this.messages.flatMap((text) => (text.startsWith(start) ? [text.slice(start.length)] : []))
  }

  /** Resolves when everything that was sent has been looked at. */
  async heard(): Promise<void> {
    const before = this.of('').length
    this.socket.send(Uint8Array.of(9))
    await until('pong', () => this.of('').length > before || this.closeCode !== null)
  }

  /** `code reason-code`. */
  async end(): Promise<string> {
    await this.closing
    return `${this.closeCode} ${this.closeReason.split(':')[0]}`
  }

  close(): void {
    this.socket.terminate()
  }

  private receive(bytes: Buffer): void {
    if (bytes.length === 1 && bytes[0] === 10) {
      this.messages.push(': pong')
      return
    }
    const decoder = decoding.createDecoder(bytes)
    const address = decoding.readVarString(decoder)
    this.messages.push(`${address}: ${this.decode(decoder)}`)
    if (decoding.hasContent(decoder)) throw new Error('bytes after a message')
  }

  private decode(decoder: decoding.Decoder): string {
    const type = decoding.readVarUint(decoder)
    if (type === 0) {
      const step = decoding.readVarUint(decoder)
      const payload = decoding.readVarUint8Array(decoder).slice()
      if (step > 0) this.updates.push(payload)
      return ['step 1', 'step 2', 'update'][step]!
    }
    if (type === 1) return `awareness of ${decoding.readVarUint8Array(decoder)[0]}`
    if (type === 2) {
      const step = decoding.readVarUint(decoder)
      if (step === 0) return 'token?'
      return `${step === 1 ? 'denied' : 'authenticated'} ${decoding.readVarString(decoder)}`
    }
    if (type === 5) return `stateless ${decoding.readVarString(decoder)}`
    if (type === 7) return `closed ${decoding.readVarString(decoder)}`
    if (type === 8) return `status ${decoding.readVarUint(decoder)}`
    throw new Error(`unknown message type ${type}`)
  }
}

/** Numbers as varUint, strings and bytes with their length. */
export function encode(address: string, ...parts: (number | string | Uint8Array)[]): Uint8Array {
  const encoder = encoding.createEncoder()
  encoding.writeVarString(encoder, address)
  for (const part of parts) {
    if (typeof part === 'number') encoding.writeVarUint(encoder, part)
    else if (typeof part === 'string') encoding.writeVarString(encoder, part)
    else encoding.writeVarUint8Array(encoder, part)
  }
  return encoding.toUint8Array(encoder)
}
