/**
 * The messages of tidemark.v1 as both ends see them: many documents on one socket, an acknowledgement for each
 * edit, a reconnect that costs what was missed. PROTOCOL.md has the grammar and the rules; `kinds` are its first
 * bytes. A test hashes the grammar together with `protocolVersion`: what changes one must change the other.
 *
 *   bytes of a frame → Assembler (parts.ts) → bytes of a message → decode* → a message of one of the unions below
 *
 * Byte fields of decoded messages are views of the frame. Whoever keeps one keeps the frame alive, or copies it.
 *
 * Rejected: JSON with base64 (a third more bytes, and a parse for each), protobuf (a generator and a runtime for
 * fifteen messages), ids of documents in each message (they are longer than most edits).
 */
import type { Offset } from '../../offset.ts'

/** Offered as WebSocket subprotocol; `protocolVersion` rises with any change that both ends can live with. */
export const subprotocol = 'tidemark.v1'
export const protocolVersion = 1

export * as kinds from './kinds.ts'

/** Updates of a replica that may wait for their acknowledgement, and so at most in one push. */
export const unackedUpdatesMax = 4_096
/** Updates in one message from the server. */
export const updatesPerMessageMax = 65_536
/** The names that replicas may have; random ones, so that no two are the same. */
export const replicaName = /^[A-Za-z0-9_.-]{1,64}$/

/** The engines that the wire has numbers for: their places in this list. A server need not have them all. */
export const wireEngines = ['yjs', 'automerge'] as const
export type WireEngine = (typeof wireEngines)[number]

/** What a replica has of a document. */
export interface Have {
  /** Counts only if `offset` is above 0. */
  readonly epoch: Offset
  /** It has everything up to here; 0: it knows nothing of offsets. */
  readonly offset: Offset
  /** As its engine encodes it (Yjs: the state vector). */
  readonly version: Uint8Array
}

/** Why something was refused or ended. */
export interface Problem {
  /** A row of the error table, or one that a newer server has. */
  readonly code: string
  readonly reason: string
  /** Try again after so long; null: never. */
  readonly retryMs: number | null
  /** Of the lineage there is now, for `stale_replica`; else 0. */
  readonly epoch: Offset
}

/** What brings a replica from what it has to `opened.offset`. */
export type CatchUp =
  | { readonly kind: 'nothing' }
  /** The entries after what it has, contiguous; the first of them has this offset. */
  | { readonly kind: 'entries'; readonly offset: Offset; readonly updates: readonly Uint8Array[] }
  /** One update with all that its version lacks. */
  | { readonly kind: 'update'; readonly update: Uint8Array }

export interface Auth {
  readonly kind: 'auth'
  readonly token: string
}

export interface Open {
  readonly kind: 'open'
  /** Chosen by the client; the answer repeats it. */
  readonly request: number
  /** Not yet parsed as a document id. */
  readonly document: string
  readonly engine: WireEngine
  /** '' : the connection's. */
  readonly token: string
  /** Names the pushes of one replica of the user across connections: as `replicaName`. */
  readonly replica: string
  readonly have: Have
}

export interface Push {
  readonly kind: 'push'
  readonly channel: number
  /** Of the first update, from 1; those after it have the next ones. */
  readonly sequence: number
  readonly updates: readonly Uint8Array[]
}

/** In both directions. */
export interface Awareness {
  readonly kind: 'awareness'
  readonly channel: number
  readonly awareness: Uint8Array
}

export interface Close {
  readonly kind: 'close'
  readonly channel: number
}

export interface Ping {
  readonly kind: 'ping'
  readonly nonce: number
}

export type ClientMessage = Auth | Open | Push | Awareness | Close | Ping

export interface Welcome {
  readonly kind: 'welcome'
  readonly version: number
  /** No WebSocket message in either direction is larger. */
  readonly partBytes: number
  /** The largest message that the server takes, put together from its parts. */
  readonly messageBytesMax: number
  /** Silence after which the client sends a ping. */
  readonly pingMs: number
  /** What an ack is worth: `fsync`, `aof-always`, `aof-everysec` or `memory`. */
  readonly durability: string
}

export interface Opened {
  readonly kind: 'opened'
  readonly request: number
  /** What the document is called on this socket from here on. */
  readonly channel: number
  readonly epoch: Offset
  /** The replica has everything up to here once it has applied the catch-up. */
  readonly offset: Offset
  readonly access: 'read' | 'write'
  /** The replica's last sequence that is known to be durable; 0: none is known. */
  readonly acked: number
  /** Of the document at the server, durable: what a replica has beyond it is still to be pushed. */
  readonly version: Uint8Array
  readonly catchUp: CatchUp
}

export interface Updates {
  readonly kind: 'updates'
  readonly channel: number
  /** Of the first update; those after it have the next ones. */
  readonly offset: Offset
  readonly updates: readonly Uint8Array[]
}

export interface Ack {
  readonly kind: 'ack'
  readonly channel: number
  /** The replica's updates up to this sequence are durable. */
  readonly sequence: number
  /** And with them the replica has everything up to here. */
  readonly offset: Offset
}

export interface Nack {
  readonly kind: 'nack'
  readonly channel: number
  /** Of the first update that is not taken; nothing after it is taken either. */
  readonly sequence: number
  readonly problem: Problem
}

export interface Closed {
  readonly kind: 'closed'
  readonly channel: number
  readonly problem: Problem
}

export interface Refused {
  readonly kind: 'refused'
  readonly request: number
  readonly problem: Problem
}

export type Hint =
  /** The server is about to end: come back, to whichever node answers, after so long. */
  | { readonly kind: 'hint'; readonly hint: 'drain'; readonly milliseconds: number }
  /** The connection's token ends in so long. */
  | { readonly kind: 'hint'; readonly hint: 'token'; readonly milliseconds: number }

export interface Pong {
  readonly kind: 'pong'
  readonly nonce: number
}

/** One update that brings a session that fell behind to this offset. */
export interface CaughtUp {
  readonly kind: 'caught-up'
  readonly channel: number
  readonly offset: Offset
  readonly update: Uint8Array
}

/** What an ack is worth has changed. */
export interface DurabilityChanged {
  readonly kind: 'durability'
  readonly durability: string
}

export type ServerMessage =
  | Welcome
  | Opened
  | Updates
  | Ack
  | Nack
  | Awareness
  | Closed
  | Refused
  | Hint
  | Pong
  | CaughtUp
  | DurabilityChanged
