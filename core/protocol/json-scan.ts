/**
 * Is this well-formed JSON (RFC 8259) in well-formed UTF-8? A single pass over the bytes that builds
 * nothing, for values that are relayed but never read. Nesting is bounded, so hostile input costs
 * O(bytes) and no stack.
 */
export const jsonDepthMax = 64

export function isJson(bytes: Uint8Array): boolean {
  return new Scan(bytes).whole()
}

class Scan {
  private readonly bytes: Uint8Array
  private at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  whole(): boolean {
    if (!this.value(0)) return false
    this.space()
    return this.at === this.bytes.length
  }

  private value(depth: number): boolean {
    if (depth > jsonDepthMax) return false
    this.space()
    const byte = this.bytes[this.at]
    if (byte === 0x22) return this.string()
    if (byte === 0x7b) return this.sequence(0x7d, depth, true)
    if (byte === 0x5b) return this.sequence(0x5d, depth, false)
    if (byte === 0x74) return this.word('true')
    if (byte === 0x66) return this.word('false')
    if (byte === 0x6e) return this.word('null')
    return this.number()
  }

  /** An object or array, from its opening bracket to `close`. */
  private sequence(close: number, depth: number, keyed: boolean): boolean {
    this.at++
    this.space()
    if (this.take(close)) return true
    for (;;) {
      if (keyed) {
        this.space()
        if (this.bytes[this.at] !== 0x22 || !this.string()) return false
        this.space()
        if (!this.take(0x3a)) return false
      }
      if (!this.value(depth + 1)) return false
      this.space()
      if (this.take(close)) return true
      if (!this.take(0x2c)) return false
    }
  }

  private string(): boolean {
    this.at++
    const bytes = this.bytes
    while (this.at < bytes.length) {
      const byte = bytes[this.at]!
      if (byte === 0x22) {
        this.at++
        return true
      }
      if (byte === 0x5c) {
        if (!this.escape()) return false
      } else if (byte >= 0x80) {
        if (!this.multiByte(byte)) return false
      } else if (byte < 0x20) return false
      else this.at++
    }
    return false
  }

  private escape(): boolean {
    const kind = this.bytes[this.at + 1]
    if (kind === 0x75) {
      for (let i = 2; i < 6; i++) if (!isHexDigit(this.bytes[this.at + i])) return false
      this.at += 6
      return true
    }
    this.at += 2
    // " \ / b f n r t
    return [0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74].includes(kind ?? -1)
  }

  /** One character of two to four bytes; the ranges are table 3-7 of the Unicode standard. */
  private multiByte(lead: number): boolean {
    const second = this.bytes[this.at + 1] ?? 0
    let length: number
    let [low, high] = [0x80, 0xbf]
    if (lead >= 0xc2 && lead <= 0xdf) length = 2
    else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3
      if (lead === 0xe0) low = 0xa0
      if (lead === 0xed) high = 0x9f
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4
      if (lead === 0xf0) low = 0x90
      if (lead === 0xf4) high = 0x8f
    } else return false
    if (second < low || second > high) return false
    for (let i = 2; i < length; i++) if (((this.bytes[this.at + i] ?? 0) & 0xc0) !== 0x80) return false
    this.at += length
    return true
  }

  private number(): boolean {
    this.take(0x2d)
    if (!this.take(0x30) && !this.digits()) return false
    if (this.take(0x2e) && !this.digits()) return false
    if (this.take(0x65) || this.take(0x45)) {
      if (!this.take(0x2b)) this.take(0x2d)
      return this.digits()
    }
    return true
  }

  private digits(): boolean {
    const start = this.at
    while (isDigit(this.bytes[this.at])) this.at++
    return this.at > start
  }

  private word(text: string): boolean {
    for (let i = 0; i < text.length; i++) if (this.bytes[this.at + i] !== text.charCodeAt(i)) return false
    this.at += text.length
    return true
  }

  private take(byte: number): boolean {
    if (this.bytes[this.at] !== byte) return false
    this.at++
    return true
  }

  private space(): void {
    for (;;) {
      const byte = this.bytes[this.at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return
      this.at++
    }
  }
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39

const isHexDigit = (byte: number | undefined): boolean =>
  isDigit(byte) || (byte !== undefined && (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)
