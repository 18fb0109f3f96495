/**
 * A replica as the harness sees it, whatever its door. A new kind of client implements `Replica` in a file of its own and is added
 * to the kinds of its engine; nothing else has to know of it. engine.ts says what another engine needs.
 *
 * Every edit has a name, which the same transaction writes into the document's map `edits`: whoever has the name has the edit,
 * and a person can be told which one is missing, and whose it was.
 */
import type { NetworkLine } from '../network-line.ts'
import type { Operation } from '../operation.ts'
import type { Random } from '../random.ts'

export const editsRoot = 'edits'

export interface Edit {
  /** `ann.17` */
  readonly name: string
  /** In words. */
  readonly what: string
  /** As the engine emitted it. */
  readonly update: Uint8Array
}

/** All that can be told apart, in an order of its own; equal texts mean equal replicas. */
export interface Content {
  readonly json: string
  /** Without what the server wrote: decisions. */
  readonly made: string
  /** And without the marks of the text. */
  readonly unmarked: string
  readonly edits: ReadonlySet<string>
}

export interface Setting {
  /** `ann` */
  readonly name: string
  readonly document: string
  readonly line: NetworkLine
  readonly random: Random
  readonly clockSkewMs: number
  /** It may send what it has to say twice and out of order, if its protocol bears that. */
  readonly shuffle: boolean
  /** The document does not exist before this one and the others make it, each what its engine's `beginning` says. */
  readonly begins: boolean
  token(): Promise<string>
  /** The client was told that the edit is durable. */
  onSaved(edit: string): void
  /** Something happened to it that nothing in a history brings about: the history goes wrong. */
  onWrong(what: string): void
  /** Something that belongs into the timeline. */
  say(what: string): void
}

/** What a replica holds, whatever brings it to others. */
export interface ReplicaDocument {
  /** It has what edits need to be there. */
  readonly ready: boolean
  read(): Content
  /** What its fields come to; compared as text. */
  fold(): string
  /** Its engine has tidied up by itself, so that the marks of texts may differ from those of the edits alone. */
  readonly tidied: boolean
  /** Intents that wait for the server. */
  undecided(): number
  /** Of the domain, in words; empty when all is well. */
  broken(): readonly string[]
}

export interface Replica {
  readonly edits: readonly Edit[]
  /** Of this page: another one after `reload`. */
  readonly document: ReplicaDocument
  /** Null: there was nothing that it could do. */
  edit(operation: Operation): Edit | null
  /** What it made is durable, as far as it has been told; doors that tell nothing say when they are in step. */
  readonly settled: boolean
  readonly connected: boolean
  /** Sends something again that it had sent before; false where it is not its to do. */
  repeat(choice: number): boolean
  offline(): void
  online(): void
  /** The page is gone and comes back with what it had stored; what was not may be lost. */
  reload(): Promise<void>
  close(): Promise<void>
}

export interface ClientKind {
  readonly name: string
  open(setting: Setting): Promise<Replica>
}
