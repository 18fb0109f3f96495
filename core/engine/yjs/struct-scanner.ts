/**
 * Reads one struct of an update v1 at a time: its clock length and where its content lies, without
 * building anything. Everything on which Yjs would throw, now while reading or later while integrating
 * or encoding again, is refused with `MalformedBytes`.
 *
 *   struct  = GC | Skip | Item
 *   GC      = 00  length:varUint
 *   Skip    = 0a  length:varUint                     -- "I do not have this range"
 *   Item    = info:u8  [origin:id]  [rightOrigin:id]  [parent [parentSub:string]]  content
 *             -- info: bit 8 origin, bit 7 right origin, bit 6 has a parentSub, bits 1-5 content
 *             -- parent only when there is neither origin, and parentSub only with parent
 *   id      = client:varUint clock:varUint
 *   parent  = 01 rootName:string | 00 id
 *   content = 1 Deleted  length:varUint              4 String  string        8 Any  n:varUint n×any
 *             2 JSON     n:varUint n×string          5 Embed   json          9 Doc  guid:string any
 *             3 Binary   varUint bytes               6 Format  key:string json
 *             7 Type     ref:varUint [name:string]   -- name for XmlElement (3) and XmlHook (5)
 *
 * Lengths: GC, Skip, Deleted as written; String its UTF-16 length; JSON and Any n; others 1.
 *
 * Why some refusals are stricter than the reader of Yjs: a reference of an item to its own client at or
 * after its own clock makes integration throw; clocks past 2^52 break when Yjs keeps a pending struct
 * as v2, which doubles them; a zero-length Skip makes its search divide by zero; opts of a
 * subdocument that are no object, or that replace `guid` or `gcFilter`, throw or poison later
 * encodes; a key `__proto__` in an Any object would set a prototype instead of a value.
 */
import { ByteReader, MalformedBytes } from '../../bytes.ts'

export const clockMax = 2 ** 52 - 1
/** Objects and arrays within one value; deeper ones overflow the stack of a recursive reader. */
export const valueNestingMax = 128

export const hasOrigin = 0x80
export const hasRightOrigin = 0x40
export const hasParentSub = 0x20
export const contentMask = 0x1f

export const gcInfo = 0
export const skipInfo = 10
export const contentRef = { deleted: 1, json: 2, string: 4, any: 8 } as const

const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class StructScanner extends ByteReader {
  /** Of the struct read last. */
  info = 0
  /** Where the content of the Item read last begins; for GC and Skip, its length. */
  contentStart = 0

  /** Reads a struct of `client` at `clock` and returns its length in clocks, at least 1. */
  struct(client: number, clock: number): number {
    const info = this.uint8()
    this.info = info
    let length: number
    if (info === gcInfo || info === skipInfo) {
      this.contentStart = this.position
      length = this.varUint()
    } else {
      if ((info & hasOrigin) !== 0) this.reference(client, clock)
      if ((info & hasRightOrigin) !== 0) this.reference(client, clock)
      if ((info & (hasOrigin | hasRightOrigin)) === 0) {
        const isRoot = this.varUint()
        if (isRoot === 1) this.string()
        else if (isRoot === 0) this.reference(client, clock)
        else throw new MalformedBytes('unknown kind of parent')
        if ((info & hasParentSub) !== 0) this.string()
      }
      this.contentStart = this.position
      length = this.content(info & contentMask)
    }
    if (length === 0) throw new MalformedBytes('struct of length zero')
    if (clock + length > clockMax) throw new MalformedBytes('clock out of range')
    return length
  }

  /** Reads a string and returns its length in UTF-16 units. */
  string(): number {
    const length = this.varUint()
    const start = this.position
    this.skip(length)
    return utf16Length(this.bytes, start, this.position)
  }

  /** Reads one value of an Any content. */
  any(depth = 0): void {
    switch (this.uint8()) {
      case 127: // undefined
      case 126: // null
      case 121: // false
      case 120: // true
        return
      case 125:
        this.varInt()
        return
      case 124: // float32
        this.skip(4)
        return
      case 123: // float64
      case 122: // bigint
        this.skip(8)
        return
      case 119:
        this.string()
        return
      case 118: {
        if (depth === valueNestingMax) throw new MalformedBytes('value nested too deep')
        for (let left = this.varUint(); left > 0; left--) {
          const keyStart = this.position
          this.string()
          if (endsInProto(this.bytes, keyStart, this.position)) throw new MalformedBytes('key __proto__')
          this.any(depth + 1)
        }
        return
      }
      case 117: {
        if (depth === valueNestingMax) throw new MalformedBytes('value nested too deep')
        for (let left = this.varUint(); left > 0; left--) this.any(depth + 1)
        return
      }
      case 116:
        this.skip(this.varUint())
        return
      default:
        throw new MalformedBytes('unknown kind of value')
    }
  }

  private reference(client: number, clock: number): void {
    const referredClient = this.varUint()
    const referredClock = this.varUint()
    if (referredClient === client && referredClock >= clock)
      throw new MalformedBytes('struct refers to itself or to a later one of its client')
    if (referredClock > clockMax) throw new MalformedBytes('clock out of range')
  }

  private content(ref: number): number {
    switch (ref) {
      case 1:
        return this.varUint()
      case 2: {
        const count = this.varUint()
        for (let left = count; left > 0; left--) this.json(true)
        return count
      }
      case 3:
        this.skip(this.varUint())
        return 1
      case 4:
        return this.string()
      case 5:
        this.json(false)
        return 1
      case 6:
        this.string()
        this.json(false)
        return 1
      case 7: {
        const typeRef = this.varUint()
        if (typeRef > 6) throw new MalformedBytes('unknown kind of type')
        if (typeRef === 3 || typeRef === 5) this.string()
        return 1
      }
      case 8: {
        const count = this.varUint()
        for (let left = count; left > 0; left--) this.any()
        return count
      }
      case 9:
        this.string()
        this.documentOptions()
        return 1
      default:
        throw new MalformedBytes('unknown kind of content')
    }
  }

  json(undefinedAllowed: boolean): void {
    const length = this.varUint()
    const start = this.position
    this.skip(length)
    checkJson(this.bytes, start, this.position, undefinedAllowed)
  }

  private documentOptions(): void {
    if (this.uint8() !== 118) throw new MalformedBytes('options of a subdocument are not an object')
    for (let left = this.varUint(); left > 0; left--) {
      const key = this.varString()
      if (key === 'guid' || key === 'gcFilter' || key === '__proto__')
        throw new MalformedBytes('option of a subdocument that no document has')
      this.any(1)
    }
  }

  private varInt(): void {
    let byte = this.uint8()
    let value = byte & 0x3f
    for (let scale = 64; byte >= 0x80; scale *= 128) {
      byte = this.uint8()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER || scale > Number.MAX_SAFE_INTEGER)
        throw new MalformedBytes('integer out of range')
    }
  }
}

/** UTF-16 units of well-formed UTF-8, judged as a fatal TextDecoder does. */
export function utf16Length(bytes: Uint8Array, start: number, end: number): number {
  let position = start
  while (position + 4 <= end) {
    if ((bytes[position]! | bytes[position + 1]! | bytes[position + 2]! | bytes[position + 3]!) >= 0x80) break
    position += 4
  }
  let units = position - start
  while (position < end) {
    const lead = bytes[position]!
    if (lead < 0x80) {
      position++
      units++
    } else {
      const size = sequenceSize(bytes, position, lead, end)
      position += size
      units += size === 4 ? 2 : 1
    }
  }
  return units
}

function sequenceSize(bytes: Uint8Array, position: number, lead: number, end: number): number {
  const size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
  if (size === 0 || position + size > end) throw new MalformedBytes('string is not UTF-8')
  const second = bytes[position + 1]!
  // Overlong forms, surrogates and what lies past U+10FFFF show in the second byte.
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (
    second < least ||
    second > most ||
    (size > 2 && (bytes[position + 2]! & 0xc0) !== 0x80) ||
    (size > 3 && (bytes[position + 3]! & 0xc0) !== 0x80)
  )
    throw new MalformedBytes('string is not UTF-8')
  return size
}

function checkJson(bytes: Uint8Array, start: number, end: number, undefinedAllowed: boolean): void {
  let depth = 0
  let inString = false
  for (let position = start; position < end; position++) {
    const byte = bytes[position]!
    if (inString) {
      if (byte === 0x5c) position++
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > valueNestingMax) throw new MalformedBytes('JSON nested too deep')
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
  try {
    const text = utf8Decoder.decode(bytes.subarray(start, end))
    if (text === 'null' || text === 'true' || (undefinedAllowed && text === 'undefined')) return
    JSON.parse(text)
  } catch {
    throw new MalformedBytes('JSON is malformed')
  }
}

const proto = new TextEncoder().encode('__proto__')

/** Whether the string that ends at `end`, its length included from `start`, is `__proto__`. */
function endsInProto(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes[start] !== proto.length) return false
  for (let i = 0; i < proto.length; i++) if (bytes[end - proto.length + i] !== proto[i]) return false
  return true
}
