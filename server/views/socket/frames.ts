/**
 * PostgreSQL's wire protocol, version 3, as far as somebody has to know it who stands between a client and a server. No I/O.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 *
 *   startup     int32 length, int32 code, …      the first one, and what may come before it
 *   message     byte type, int32 length, …       lengths count themselves
 */

export interface Frame {
  /** A letter. */
  readonly type: string
  /** The whole message. */
  readonly bytes: Buffer
}

export type Startup = 'version 3' | 'encryption' | 'cancel' | 'unknown'

const startupCodes = new Map<number, Startup>([
  [196_608, 'version 3'],
  [80_877_103, 'encryption'], // SSL
  [80_877_104, 'encryption'], // GSSAPI
  [80_877_102, 'cancel'],
])
const startupBytesMax = 10_000

/** What comes over a socket, cut into messages. */
export class FrameReader {
  private readonly bytesMax: number
  private chunks: Buffer[] = []
  private bytes = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  push(chunk: Buffer): void {
    this.chunks.push(chunk)
    this.bytes += chunk.length
  }

  /** Null: not all of it is here. Throws for one that is too long. */
  startup(): Startup | null {
    const bytes = this.take(0, startupBytesMax)
    if (bytes === null) return null
    return bytes.length < 8 ? 'unknown' : (startupCodes.get(bytes.readInt32BE(4)) ?? 'unknown')
  }

  /** Null: not all of it is here. Throws for one that is too long. */
  frame(): Frame | null {
    const bytes = this.take(1, this.bytesMax)
    return bytes === null ? null : { type: String.fromCharCode(bytes[0]!), bytes }
  }

  /** `before`: bytes that stand before the length. */
  private take(before: number, bytesMax: number): Buffer | null {
    if (this.bytes < before + 4) return null
    if (this.chunks.length > 1 && this.chunks[0]!.length < before + 4) this.join()
    const length = before + this.chunks[0]!.readInt32BE(before)
    if (length < before + 4 || length > bytesMax) throw new Error(`a message of ${length} bytes`)
    if (this.bytes < length) return null
    if (this.chunks[0]!.length < length) this.join()
    const first = this.chunks[0]!
    this.bytes -= length
    if (first.length === length) this.chunks.shift()
    else this.chunks[0] = first.subarray(length)
    return first.subarray(0, length)
  }

  private join(): void {
    this.chunks = [Buffer.concat(this.chunks)]
  }
}

export function message(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? text(part) : part)))
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const text = (value: string): Buffer => Buffer.from(`${value}\0`)

export const noEncryption = Buffer.from('N')

/** All that a server says before the first query. There is nothing to authenticate, and nothing to cancel. */
export function greeting(settings: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat([
    message('R', Buffer.alloc(4)),
    ...Object.entries(settings).map(([name, value]) => message('S', name, value)),
    message('K', Buffer.alloc(8)),
    message('Z', Buffer.from('I')),
  ])
}

export function errorMessage(severity: 'ERROR' | 'FATAL', code: string, reason: string): Buffer {
  const field = (letter: string, value: string): Buffer => Buffer.from(`${letter}${value}\0`)
  return message(
    'E',
    field('S', severity),
    field('V', severity),
    field('C', code),
    field('M', reason),
    Buffer.alloc(1),
  )
}

/** In which state the session is after these messages of a server: idle, in a transaction, or in one that failed. */
export function stateAfter(messages: Uint8Array): 'I' | 'T' | 'E' | null {
  // The last one, when it is ReadyForQuery: type, length 5, state.
  const end = Buffer.from(messages.buffer, messages.byteOffset, messages.byteLength).subarray(-6)
  if (end.length < 6 || end[0] !== 0x5a || end.readInt32BE(1) !== 5) return null
  const state = String.fromCharCode(end[5]!)
  return state === 'I' || state === 'T' || state === 'E' ? state : null
}

/** The SQL of a Query or Parse message. */
export function sqlOf({ type, bytes }: Frame): string {
  const from = type === 'P' ? bytes.indexOf(0, 5) + 1 : 5
  return bytes.toString('utf8', from, bytes.indexOf(0, from))
}

/** The same message with other SQL. */
export function withSql({ type, bytes }: Frame, sql: string): Buffer {
  const from = type === 'P' ? bytes.indexOf(0, 5) + 1 : 5
  return message(type, bytes.subarray(5, from), text(sql), bytes.subarray(bytes.indexOf(0, from) + 1))
}

/** Where the name of a prepared statement stands in a message that has one; -1 without. */
function statementAt({ type, bytes }: Frame): number {
  if (type === 'P') return 5
  if (type === 'B') return bytes.indexOf(0, 5) + 1
  return (type === 'D' || type === 'C') && bytes[5] === 0x53 ? 6 : -1
}

/** A client's statement has the client's mark: the session has those of all clients. Unnamed ones stay so. */
export function marked(
  frame: Frame,
  mark: string,
): { readonly bytes: Buffer; readonly statement: string | null } {
  const at = statementAt(frame)
  const { type, bytes } = frame
  if (at < 0 || bytes[at] === 0) return { bytes, statement: null }
  const end = bytes.indexOf(0, at)
  const statement = `${mark}${bytes.toString('utf8', at, end)}`
  return { bytes: message(type, bytes.subarray(5, at), text(statement), bytes.subarray(end + 1)), statement }
}
