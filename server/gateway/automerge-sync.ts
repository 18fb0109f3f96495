/**
 * One document's synchronisation with one peer of automerge-repo. No document is built, and no filter made (those of peers are read, where
 * they have what is not here, and may have forgotten what is): a session that has
 * joined is given everything in the order of the log, so what its peer has is told by what was sent.
 *
 *   message ─┬─ changes ─▶ the room ─▶ "heads", once they are durable and what came before them was delivered
 *            └─ the first one, or one of a peer that began anew ─▶ what it may lack ─▶ live: every batch of the room
 *
 * What is kept of a peer: its latest heads, and the last message that was answered. These peers answer every message as long as
 * heads differ, so a message that says the same again, while nothing has changed here, is not answered: two who cannot
 * agree, since one may not write, would go on for ever.
 */
import { createHash } from 'node:crypto'
import type { ChangeGraph } from '../../core/engine/automerge/change-graph.ts'
import { hex } from '../../core/engine/automerge/chunk.ts'
import type { Filter, SyncMessage } from '../../core/engine/automerge/sync-message.ts'
import { writeVersion } from '../../core/engine/automerge/version.ts'
import { noOffset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/error-codes.ts'
import type { Joined } from '../room/catch-up.ts'
import type { Room } from '../room/room.ts'
import type { Session, UnnamedUpdates } from '../room/session.ts'
import { type AutomergeDialect, automergeEngine, coverageIn } from './automerge-dialect.ts'
import type { SocketLine } from './socket-line.ts'

/** Heads of a peer that are looked at: documents with more concurrent authors at one moment are not known. */
const headsMax = 10_000
/** A history that is pushed at once is read in parts, each some milliseconds of the event loop. */
const partBytesMax = 64 * 1024
/** Of a document with more changes a peer that remembers nothing is sent everything: to look each up would take 10 ms and more. */
const filteredMax = 5_000

export class AutomergeSync implements UnnamedUpdates {
  readonly session: Session
  private readonly room: Room
  private readonly dialect: AutomergeDialect
  private readonly line: SocketLine
  private readonly updateBytesMax: number
  /** Updates of the peer that are on their way to the log. */
  private underWay = 0
  /** A message that waits for the socket to take more. */
  private pending: SyncMessage | null = null
  /** What was answered last, and what the peer was told then. */
  private answered = ''
  /** The peer has said something that it can say only since the last answer reached it. */
  private heard = false

  constructor(
    room: Room,
    dialect: AutomergeDialect,
    line: SocketLine,
    updateBytesMax: number,
    begin: (unnamed: UnnamedUpdates) => Session,
  ) {
    this.room = room
    this.dialect = dialect
    this.line = line
    this.updateBytesMax = updateBytesMax
    this.session = begin(this)
  }

  get takesDocuments(): boolean {
    return this.dialect.takesDocuments
  }

  /** Nobody has written to the document. */
  private get isEmpty(): boolean {
    return coverageIn(this.room).graph.count === 0 && this.room.engine === null
  }

  /** To be submitted in order. */
  updatesOf(changes: readonly Uint8Array[]): readonly Uint8Array[] {
    return changes.length === 0 ? [] : partsOf(changes, Math.min(this.updateBytesMax, partBytesMax))
  }

  /** Throws as `Room.submit`. */
  submit(update: Uint8Array): void {
    if (this.room.submit(this.session, update, true)) this.underWay++
    // It will be told of what it seems not to know.
    else this.room.owe(this.session)
  }

  /** `data`: as it came. `asks`: its peer has nothing. Rejects as `Room.join`. */
  async receive(message: SyncMessage, data: Uint8Array, asks: boolean): Promise<void> {
    if (message.heads.length > headsMax) throw new TidemarkError('malformed_frame', 'Too many heads')
    if (!this.wantsAnswer(message, asks)) return
    const said = digest(data)
    const asked = said + digest(this.room.version(automergeEngine))
    // Whoever begins anew says so with every edit of others, until the answer reaches it.
    const again = beginsAnew(message) ? this.answered.startsWith(said) : this.answered === asked
    if (!asks && again) return
    this.answered = asked
    this.heard = false
    const waits = this.pending !== null
    this.pending = message
    if (!waits) await this.answerPending()
  }

  private wantsAnswer(message: SyncMessage, asks: boolean): boolean {
    const { heads, need, have, changes } = message
    if (asks || this.session.state === 'waiting') return true
    if (this.session.state === 'closed') return false
    const { graph } = coverageIn(this.room)
    const told = this.dialect.told?.heads ?? []
    const knowsNothing = have[0] !== undefined && have[0].lastSync.length === 0
    this.heard ||= told.length === 0 || changes.length > 0 || need.length > 0 || !knowsNothing
    this.heard ||=
      beginsAnew(message) || heads.some((head) => told.some((known) => Buffer.compare(head, known) === 0))
    // It lacks what it was given.
    if (need.some((hash) => graph.has(hash))) return true
    // Each of its edits is a message, until our answer reaches it: over a slow line it would be sent everything again for each.
    if (!this.heard) return false
    // It began anew, or what it was sent builds on what it lacks.
    if (knowsNothing && told.length > 0) return true
    if (changes.length > 0 || this.underWay > 0) return false
    // It has what is not here, and does not send it.
    return heads.some((hash) => !graph.has(hash))
  }

  private async answerPending(): Promise<void> {
    await this.line.writable()
    const { pending: message, session, room } = this
    this.pending = null
    if (message === null || session.state === 'closed' || session.state === 'joining') return
    await this.join(knownOf(message, coverageIn(room).graph), (joined) =>
      message.heads.length === 0 && this.isEmpty ? this.dialect.unavailable() : this.dialect.joined(joined),
    )
  }

  /** `known`: what the peer has. */
  private join(known: readonly Uint8Array[], answer: (joined: Joined) => Uint8Array[]): Promise<void> {
    const asWritten = !this.dialect.takesDocuments
    return this.room.join(this.session, { version: writeVersion(known), offset: noOffset, asWritten }, answer)
  }

  /**
   * For a peer that may not know that it is on another connection: it tells what was under way, hears where things stand, and
   * asks if that is more than it has.
   */
  async resume(): Promise<void> {
    const { room, session, dialect } = this
    if (session.state !== 'waiting') return
    const heads = coverageIn(room).graph.heads()
    await this.join(heads, (joined) => [...dialect.tellAgain(), ...dialect.joined(joined)])
  }

  settled(): void {
    this.underWay--
    this.room.owe(this.session)
  }

  /** Its changes are in the log: it hears so from the heads. */
  delivered(): void {
    if (this.isTold()) return
    this.session.writeAll(this.dialect.sync([]), Date.now())
  }

  private isTold(): boolean {
    const { told } = this.dialect
    const heads = coverageIn(this.room).graph.heads()
    return (
      told !== null &&
      told.heads.length === heads.length &&
      told.heads.every((head, i) => Buffer.compare(head, heads[i]!) === 0)
    )
  }
}

/**
 * It was told that it has in common with us what it does not know, and drops all that it knew of us. Anyone else's
 * filter contains what it has.
 */
const beginsAnew = ({ have }: SyncMessage): boolean =>
  have[0] !== undefined && have[0].lastSync.length === 0 && have[0].filter.isEmpty

/** Changes that the peer has, with all before them. A filter may be wrong about some; then its peer begins anew. */
function knownOf({ heads, need, have }: SyncMessage, graph: ChangeGraph): Uint8Array[] {
  if (need.length > 0) return []
  const known = [...heads, ...have.flatMap(({ lastSync }) => lastSync)]
  const filter = have[0]?.filter
  if (filter === undefined || filter.isEmpty || graph.count > filteredMax) return known
  if (heads.every((head) => graph.has(head))) return known
  return [...known, ...latestIn(filter, graph, known)]
}

/** The latest of the changes of which the filter contains all that they build on. */
function latestIn(filter: Filter, graph: ChangeGraph, known: readonly Uint8Array[]): Iterable<Uint8Array> {
  const isKnown = graph.ancestors(known)
  const contained = new Set<string>()
  const latest = new Map<string, Uint8Array>()
  let number = 0
  for (const hash of graph.hashes()) {
    const deps = graph.depsOf(hash).map(hex)
    if (isKnown[number++] === 0 && !(filter.contains(hash) && deps.every((dep) => contained.has(dep))))
      continue
    contained.add(hex(hash))
    for (const dep of deps) latest.delete(dep)
    latest.set(hex(hash), hash)
  }
  return latest.values()
}

/** As few updates as may be, none larger than `bytesMax` but for what is one change. */
function partsOf(changes: readonly Uint8Array[], bytesMax: number): Uint8Array[] {
  const updates: Uint8Array[] = []
  let part: Uint8Array[] = []
  let bytes = 0
  for (const change of changes) {
    if (bytes + change.length > bytesMax && part.length > 0) {
      updates.push(joined(part))
      part = []
      bytes = 0
    }
    part.push(change)
    bytes += change.length
  }
  updates.push(joined(part))
  return updates
}

/** A copy: what came is a view of a larger frame, which the log would keep alive. */
const joined = (parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts))

const digest = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('base64')
