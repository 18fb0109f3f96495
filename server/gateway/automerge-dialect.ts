/**
 * How a room speaks to automerge-repo's peers: Automerge sync messages in CBOR maps, as complete WebSocket frames.
 *
 * There is one shape of sync message, whatever it is for:
 *
 *   heads    what the log has, durable and delivered here
 *   need     what changes of the log wait for and nobody has sent
 *   have     those heads and all before them: no filter, since a peer that was given this message knows them
 *   changes  what the peer may lack to have all of that
 *
 * Messages to peers of a room differ in `targetId` only. It stands last in the map, so what comes before is encoded once for
 * all who share a sender's name (the one under which they reached the server) and a document.
 */
import type { AutomergeCoverage } from '../../core/engine/automerge/coverage.ts'
import { outlineOf } from '../../core/engine/automerge/outline.ts'
import { encodeSyncMessage, Filter } from '../../core/engine/automerge/sync-message.ts'
import {
  encodeTarget,
  syncMessageHead,
  type Untargeted,
  unavailableMessage,
} from '../../core/protocol/automerge-repo.ts'
import { TidemarkError } from '../../core/protocol/error-codes.ts'
import type { Entry } from '../log/log.ts'
import type { Joined } from '../room/catch-up.ts'
import type { Dialect } from '../room/dialect.ts'
import type { Room } from '../room/room.ts'
import { messageBytesMax, partsOf } from './automerge-messages.ts'
import { isAboutHeads } from './automerge-remote-heads.ts'
import { frameHeaderBytes, writeFrameHeader } from './websocket-frame.ts'

export const automergeEngine = 'automerge'
/** What changes wait for, told in one message; the rest comes with the next ones. */
const needMax = 1_000
/** Names of the server, in a room. */
const sharedMax = 8

/** What the peers of a room share that reached the server under one name and read the same messages. */
export class RoomFrames {
  readonly room: Room
  private readonly documentId: string
  /** The server's peer id. */
  private readonly senderId: string
  /** They take whole documents. */
  private readonly documents: boolean
  private last: { readonly entries: readonly Entry[]; readonly encoded: Encoded } | null = null

  private heard: { readonly payload: string; readonly message: Uint8Array } | null = null

  constructor(room: Room, documentId: string, senderId: string, documents: boolean) {
    this.room = room
    this.documentId = documentId
    this.senderId = senderId
    this.documents = documents
  }

  /** The same for all who are given the same entries. */
  entries(entries: readonly Entry[]): Encoded {
    if (this.last?.entries === entries) return this.last.encoded
    const { told, parts } = this.sync(entries.map(({ update }) => update))
    const encoded = { told, parts: [Buffer.concat(parts)] }
    this.last = { entries, encoded }
    return encoded
  }

  unavailable(): Uint8Array {
    return unavailableMessage(this.senderId, this.documentId)
  }

  ephemeral(payload: string): Uint8Array {
    if (this.heard?.payload !== payload)
      this.heard = { payload, message: Buffer.from(payload.slice(1), 'base64') }
    return this.heard.message
  }

  /** Updates are shared, not copied. `told`: when it is not all. Throws as `Room.coverage`. */
  sync(updates: readonly Uint8Array[], told = toldOf(this.room)): Encoded {
    const { heads, need } = told
    const changes = this.documents ? updates : changesOf(updates)
    const have = [{ lastSync: heads, filter: Filter.empty }]
    const data = encodeSyncMessage({ heads, need, have, changes }, this.documents)
    return { told, parts: [syncMessageHead(this.senderId, this.documentId, lengthOf(data)), ...data] }
  }
}

/** One for all sessions of a room that reached the server under one name. */
export class FramesOfRooms {
  private readonly byRoom = new WeakMap<Room, Map<string, RoomFrames>>()

  of(room: Room, documentId: string, senderId: string, documents: boolean): RoomFrames {
    const key = `${documents ? 1 : 0}${senderId}`
    const known = this.byRoom.get(room) ?? new Map<string, RoomFrames>()
    this.byRoom.set(room, known)
    let frames = known.get(key)
    if (frames === undefined) {
      frames = new RoomFrames(room, documentId, senderId, documents)
      // Under more names than a server has, each encodes for itself.
      if (known.size < sharedMax) known.set(key, frames)
    }
    return frames
  }
}

interface Encoded {
  readonly told: Told
  /** But for whom it is for. */
  readonly parts: readonly Uint8Array[]
}

/** What a sync message says of the log. */
export interface Told {
  readonly heads: readonly Uint8Array[]
  readonly need: readonly Uint8Array[]
}

/** Throws as `Room.coverage`. */
export function toldOf(room: Room): Told {
  const { graph } = coverageIn(room)
  // Copies: views would keep what a graph has outgrown.
  const heads = graph.heads().map((head) => head.slice())
  return { heads, need: graph.missing().slice(0, needMax) }
}

/** Throws as `Room.coverage`. */
export const coverageIn = (room: Room): AutomergeCoverage =>
  room.coverage(automergeEngine) as AutomergeCoverage

export class AutomergeDialect implements Dialect {
  readonly name = 'automerge'
  readonly presenceBeforeJoin = false
  private readonly frames: RoomFrames
  private readonly target: Uint8Array
  private readonly hear: (payload: string) => Untargeted | null
  /** What the peer was told last. */
  told: Told | null = null

  /** `hear`: what is said among sessions about heads, as a message for this peer. */
  constructor(frames: RoomFrames, peerId: string, hear: (payload: string) => Untargeted | null) {
    this.frames = frames
    this.hear = hear
    this.target = encodeTarget(peerId)
  }

  entries(entries: readonly Entry[]): Uint8Array {
    const { told, parts } = this.frames.entries(entries)
    this.told = told
    return Buffer.concat(this.framed(parts))
  }

  caughtUp(chunks: readonly Uint8Array[]): Uint8Array[] {
    return this.sync(chunks)
  }

  joined(joined: Joined): Uint8Array[] {
    if (joined.kind === 'entries') throw new Error('entries for a replica without an offset')
    return this.sync(joined.chunks)
  }

  /** There is nothing, yet: what comes later is told. */
  unavailable(): Uint8Array[] {
    return this.framed([this.frames.unavailable()])
  }

  /** Where things stand, with what the peer may lack; in several messages when that is much. */
  sync(updates: readonly Uint8Array[]): Uint8Array[] {
    const { graph } = coverageIn(this.frames.room)
    const known = this.told?.heads ?? []
    return partsOf(updates, known, (hash) => graph.counts(hash), messageBytesMax).flatMap((part) => {
      const told = part.heads === null ? toldOf(this.frames.room) : { heads: part.heads, need: [] }
      this.told = told
      return this.framed(this.frames.sync(part.updates, told).parts)
    })
  }

  /** These peers have ephemeral messages instead. */
  awareness(): Uint8Array {
    return nothing
  }

  /** An ephemeral message of another peer, or about heads. */
  broadcast(payload: string): Uint8Array {
    const message = isAboutHeads(payload) ? this.hear(payload) : this.frames.ephemeral(payload)
    return message === null ? nothing : Buffer.concat(this.framed([message]))
  }

  private framed(message: readonly Uint8Array[]): Uint8Array[] {
    return targetedFrame(message, this.target)
  }
}

/** One frame: a message in parts, and whom it is for. */
export function targetedFrame(message: readonly Uint8Array[], target: Uint8Array): Uint8Array[] {
  const bytes = lengthOf(message) + target.length
  const header = Buffer.allocUnsafe(frameHeaderBytes(bytes))
  writeFrameHeader(header, 0, bytes)
  return [header, ...message, target]
}

const nothing = new Uint8Array()

/** One by one, for peers that take nothing else. */
function changesOf(updates: readonly Uint8Array[]): Uint8Array[] {
  return updates.flatMap((update) => {
    const { changes, documents } = outlineOf(update)
    if (documents.length > 0)
      throw new TidemarkError('invalid_request', "This peer's Automerge is too old to take whole documents")
    return changes.map(({ bytes }) => bytes)
  })
}

const lengthOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0)
