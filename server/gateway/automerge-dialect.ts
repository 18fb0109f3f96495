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
 * all who share a sender's name (the one under which they reached the server) and a document. Ephemeral messages, of which there are
 * many, are copied for each peer as whole frames, and its id set into the copy.
 */
import type { AutomergeCoverage } from '../../core/engine/automerge/coverage.ts'
import { outlineOf } from '../../core/engine/automerge/outline.ts'
import { encodeSyncMessage, Filter, type SyncMessage } from '../../core/engine/automerge/sync-message.ts'
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
  readonly documents: boolean
  private last: { readonly entries: readonly Entry[]; readonly encoded: Encoded } | null = null
  private heard: Heard | null = null

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

  /** Those of the payloads that are ephemeral messages; the same for all peers whose ids are as long. */
  ephemerals(payloads: readonly string[], targetBytes: number): Blank {
    if (this.heard?.payloads !== payloads) {
      const ephemeral = payloads.filter((payload) => !isAboutHeads(payload))
      const messages = ephemeral.map((payload) => Buffer.from(payload.slice(1), 'base64'))
      this.heard = { payloads, messages, blanks: new Map() }
    }
    const { messages, blanks } = this.heard
    const known = blanks.get(targetBytes) ?? blankOf(messages, targetBytes)
    blanks.set(targetBytes, known)
    return known
  }

  /** Updates are shared, not copied. `told`: when it is not all. Throws as `Room.coverage`. */
  sync(updates: readonly Uint8Array[], told = toldOf(this.room)): Encoded {
    const { heads, need } = told
    const changes = this.documents ? updates : changesOf(updates)
    const have = [{ lastSync: heads, filter: Filter.empty }]
    return { told, parts: this.message({ heads, need, have, changes }) }
  }

  /** Without heads: as one who has lost what it was sent, but for what it says to have. Throws as `Room.coverage`. */
  forgetful(): Uint8Array[] {
    const have = [{ lastSync: toldOf(this.room).heads, filter: Filter.empty }]
    return this.message({ heads: [], need: [], have, changes: [] })
  }

  private message(message: Omit<SyncMessage, 'takesDocuments'>): Uint8Array[] {
    const data = encodeSyncMessage(message, this.documents)
    return [syncMessageHead(this.senderId, this.documentId, lengthOf(data)), ...data]
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

/** Frames of several messages, with room for whom they are for. */
interface Blank {
  readonly bytes: Uint8Array
  readonly targetsAt: readonly number[]
}

interface Heard {
  readonly payloads: readonly string[]
  readonly messages: readonly Uint8Array[]
  /** By the bytes that a target takes. */
  readonly blanks: Map<number, Blank>
}

function blankOf(messages: readonly Uint8Array[], targetBytes: number): Blank {
  const blank = new Uint8Array(targetBytes)
  const targetsAt: number[] = []
  let bytes = 0
  const frames = messages.map((message) => {
    const frame = Buffer.concat(targetedFrame([message], blank))
    bytes += frame.length
    targetsAt.push(bytes - targetBytes)
    return frame
  })
  return { bytes: Buffer.concat(frames, bytes), targetsAt }
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

  /** Its peer does. */
  get takesDocuments(): boolean {
    return this.frames.documents
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

  /** Its peer tells again what of its own is not here: what it sent before may not have arrived. */
  tellAgain(): Uint8Array[] {
    return this.framed(this.frames.forgetful())
  }

  /** These peers have ephemeral messages instead. */
  awareness(): Uint8Array {
    return nothing
  }

  /** Ephemeral messages of other peers, and what is said about heads. */
  broadcast(payloads: readonly string[]): Uint8Array {
    const { target } = this
    const blank = this.frames.ephemerals(payloads, target.length)
    const bytes = Buffer.from(blank.bytes)
    for (const at of blank.targetsAt) bytes.set(target, at)
    if (blank.targetsAt.length === payloads.length) return bytes
    const aboutHeads = payloads.filter(isAboutHeads).flatMap((payload) => {
      const message = this.hear(payload)
      return message === null ? [] : this.framed([message])
    })
    return aboutHeads.length === 0 ? bytes : Buffer.concat([bytes, ...aboutHeads])
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
