/**
 * Reading and writing the integers, strings and byte strings of lib0's coding, which all Yjs wire
 * formats and our own records use: `varUint` is LEB128, a string or byte string is a varUint length
 * followed by its bytes. A reader refuses what runs past its end or exceeds 2^53 - 1; callers turn
 * `MalformedBytes` into a row of the error table.
 */
export class MalformedBytes extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MalformedBytes'
  }
}

const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const utf8Encoder = new TextEncoder()

export class ByteReader {
  readonly bytes: Uint8Array
  readonly end: number
  position: number

  constructor(bytes: Uint8Array, position = 0, end = bytes.length) {
    this.bytes = bytes
    this.position = position
    this.end = end
  }

  get remaining(): number {
    return this.end - this.position
  }

  uint8(): number {
    if (this.position >= this.end) throw new MalformedBytes('unexpected end')
    return this.bytes[this.position++]!
  }

  varUint(): number {
    const bytes = this.bytes
    let position = this.position
    let value = 0
    let scale = 1
    for (;;) {
      if (position >= this.end) throw new MalformedBytes('unexpected end in an integer')
      const byte = bytes[position++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) break
      scale *= 128
      if (scale > Number.MAX_SAFE_INTEGER) throw new MalformedBytes('integer out of range')
    }
    if (value > Number.MAX_SAFE_INTEGER) throw new MalformedBytes('integer out of range')
    this.position = position
    return value
  }

  skip(count: number): void {
    if (count > this.end - this.position) throw new MalformedBytes('unexpected end')
    this.position += count
  }

  /** A view, not a copy. */
  take(count: number): Uint8Array {
    const start = this.position
    this.skip(count)
    return this.bytes.subarray(start, this.position)
  }

  /** A view, not a copy. */
  varBytes(): Uint8Array {
    return this.take(this.varUint())
  }

  varString(): string {
    const bytes = this.varBytes()
    try {
      return utf8Decoder.decode(bytes)
    } catch {
      throw new MalformedBytes('string is not UTF-8')
    }
  }
}

export class ByteWriter {
  private bytes: Uint8Array
  private length = 0

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity)
  }

  get position(): number {
    return this.length
  }

  private reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  uint8(value: number): this {
    this.reserve(1)
    this.bytes[this.length++] = value
    return this
  }

  varUint(value: number): this {
    this.reserve(8)
    let rest = value
    while (rest > 0x7f) {
      this.bytes[this.length++] = 0x80 | (rest % 128)
      rest = Math.floor(rest / 128)
    }
    this.bytes[this.length++] = rest
    return this
  }

  raw(bytes: Uint8Array): this {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
    return this
  }

  varBytes(bytes: Uint8Array): this {
    return this.varUint(bytes.length).raw(bytes)
  }

  varString(text: string): this {
    return this.shortAscii(text) ? this : this.varBytes(utf8Encoder.encode(text))
  }

  /** Ids and names mostly are: without the encoder, whose call costs more than their bytes. */
  private shortAscii(text: string): boolean {
    const count = text.length
    if (count > 0x7f) return false
    this.reserve(count + 1)
    const start = this.length + 1
    for (let i = 0; i < count; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) return false
      this.bytes[start + i] = code
    }
    this.bytes[this.length] = count
    this.length = start + count
    return true
  }

  /** A view of what was written; later writes may move to other memory, never change these bytes. */
  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }
}
