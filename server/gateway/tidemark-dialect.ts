/**
 * The room's side of tidemark.v1: entries, catch-ups and presence as complete frames that are the same bytes for all
 * sessions of a room, because the room has one channel on all their sockets.
 *
 * The entries of a batch go out as few messages as their offsets (which must follow one another in a message) and
 * `partBytes` allow; an update that is larger than a part is a message of its own, in parts.
 */
import { ByteWriter } from '../../core/bytes.ts'
import type { Offset } from '../../core/offset.ts'
import { encodeServerMessage, encodeWithChunks } from '../../core/protocol/tidemark-v1/encode.ts'
import { type ServerMessage, updatesPerMessageMax } from '../../core/protocol/tidemark-v1/messages.ts'
import { framesOf } from '../../core/protocol/tidemark-v1/parts.ts'
import type { Entry } from '../log/log.ts'
import type { Dialect } from '../room/dialect.ts'
import type { Room } from '../room/room.ts'
import { frameHeaderBytes, writeFrameHeader } from './websocket-frame.ts'

/** No frame of this door has a larger payload, in either direction. */
export const partBytes = 64 * 1024
/** The kind, three numbers before the updates. */
const headerBytesMax = 25
const lengthBytesMax = 8

export class TidemarkDialect implements Dialect {
  readonly name = 'tidemark.v1'
  readonly presenceBeforeJoin = false
  readonly channel: number

  constructor(channel: number) {
    this.channel = channel
  }

  entries(entries: readonly Entry[]): Uint8Array {
    const frames: Uint8Array[] = []
    for (let start = 0; start < entries.length; ) {
      const end = endOfMessage(entries, start)
      const updates: Uint8Array[] = []
      for (let i = start; i < end; i++) updates.push(entries[i]!.update)
      const { offset } = entries[start]!
      frames.push(framesOfMessage({ kind: 'updates', channel: this.channel, offset, updates }))
      start = end
    }
    return joinedBytes(frames)
  }

  caughtUp(chunks: readonly Uint8Array[], offset: Offset): Uint8Array[] {
    return framed(encodeWithChunks({ kind: 'caught-up', channel: this.channel, offset }, chunks))
  }

  awareness(awareness: Uint8Array): Uint8Array {
    return framesOfMessage({ kind: 'awareness', channel: this.channel, awareness })
  }
}

/** The entries from `start` that fit one message. */
function endOfMessage(entries: readonly Entry[], start: number): number {
  let bytes = headerBytesMax
  let end = start
  while (end < entries.length && end - start < updatesPerMessageMax) {
    const entry = entries[end]!
    bytes += lengthBytesMax + entry.update.length
    const continues = end === start || entry.offset === entries[end - 1]!.offset + 1
    if (end > start && (!continues || bytes > partBytes)) break
    end++
  }
  return end
}

/** Frames of a message given in chunks, header and pieces each: views, not copies. */
export function framed(chunks: readonly Uint8Array[]): Uint8Array[] {
  return framesOf(chunks, partBytes).flatMap((pieces) => {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const header = Buffer.allocUnsafe(frameHeaderBytes(length))
    writeFrameHeader(header, 0, length)
    return [header, ...pieces]
  })
}

/** In one piece. */
export const framesOfMessage = (message: ServerMessage): Uint8Array =>
  joinedBytes(framed([encodeServerMessage(message)]))

function joinedBytes(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!
  const writer = new ByteWriter(pieces.reduce((sum, piece) => sum + piece.length, 0))
  for (const piece of pieces) writer.raw(piece)
  return writer.finish()
}

/** Channels of this node's rooms. A number is never used again, so what is late for a room reaches no other. */
export class Channels {
  private readonly dialects = new WeakMap<Room, TidemarkDialect>()
  private last = 0

  of(room: Room): TidemarkDialect {
    const known = this.dialects.get(room)
    if (known !== undefined) return known
    const dialect = new TidemarkDialect(++this.last)
    this.dialects.set(room, dialect)
    return dialect
  }
}
