/**
 * Says what an update brings, by walking its structure (Yjs update format 1) without keeping anything:
 * runs of structs (client, clock, length) and runs of deletes. Independent of the server's own parser
 * on purpose: what is measured must not be what checks it.
 *
 * Knows what the benchmarks send and what a server may turn it into: text, deleted ranges, garbage
 * and skips. Anything else throws, and the run fails.
 */
export interface UpdateVisitor {
  onStructs(client: number, clock: number, length: number): void
  onDeletes(client: number, clock: number, length: number): void
}

let position = 0

function varUint(bytes: Buffer): number {
  let byte = bytes[position++]!
  let value = byte & 0x7f
  let scale = 128
  while (byte > 0x7f) {
    byte = bytes[position++]!
    value += (byte & 0x7f) * scale
    scale *= 128
  }
  return value
}

/** `bytes` from `start` is the update. */
export function visitUpdate(bytes: Buffer, start: number, visitor: UpdateVisitor): void {
  position = start
  for (let clients = varUint(bytes); clients > 0; clients--) {
    let structs = varUint(bytes)
    const client = varUint(bytes)
    let clock = varUint(bytes)
    for (; structs > 0; structs--) {
      const info = bytes[position++]!
      const length = structLength(bytes, info)
      if (info !== 10) visitor.onStructs(client, clock, length)
      clock += length
    }
  }
  for (let clients = varUint(bytes); clients > 0; clients--) {
    const client = varUint(bytes)
    for (let ranges = varUint(bytes); ranges > 0; ranges--) {
      const clock = varUint(bytes)
      visitor.onDeletes(client, clock, varUint(bytes))
    }
  }
}

function structLength(bytes: Buffer, info: number): number {
  if (info === 0 || info === 10) return varUint(bytes)
  if ((info & 0x80) !== 0) {
    varUint(bytes)
    varUint(bytes)
  }
  if ((info & 0x40) !== 0) {
    varUint(bytes)
    varUint(bytes)
  }
  if ((info & 0xc0) === 0) {
    if (varUint(bytes) === 1) skipString(bytes)
    else {
      varUint(bytes)
      varUint(bytes)
    }
    if ((info & 0x20) !== 0) skipString(bytes)
  }
  const content = info & 0x1f
  if (content === 1) return varUint(bytes)
  // Benchmarks type ASCII, so that bytes are UTF-16 units.
  if (content === 4) return skipString(bytes)
  throw new Error(`update has content ${content}, which no benchmark sends`)
}

function skipString(bytes: Buffer): number {
  const length = varUint(bytes)
  position += length
  return length
}

/** The kind of a sync message and where its bytes start, or null for any other message. */
export function syncMessage(bytes: Buffer, start: number): { kind: number; start: number } | null {
  if (bytes[start] !== 0) return null
  position = start + 2
  varUint(bytes)
  return { kind: bytes[start + 1]!, start: position }
}

/** True for step 2 and update; cheaper than `syncMessage` where frames come by the million. */
export function carriesUpdate(bytes: Buffer, start: number): boolean {
  return bytes[start] === 0 && (bytes[start + 1] === 2 || bytes[start + 1] === 1)
}
