/**
 * A document's live sessions on one node, and the only way into its log.
 *
 *   submit    submits.ts. Nothing reaches another session from there.
 *   fan-out   the room follows the log from the offset it loaded. What the log says is durable, it
 *             encodes once per dialect and writes to every live session, in offset order, its own
 *             node's entries and other nodes' alike (P1, P2).
 *   join      a session tells its offset or version and gets what it lacks, then goes live.
 *   ack       a session that names its updates hears of them after everything before them was handed to its socket.
 *   resync    a session whose socket is full is marked behind and brought up to date from the log later.
 *
 * The room holds what the log contains as ranges (coverage), never a document. The coverage counts
 * durable entries only, so "already there" is never said of an update that could still be lost.
 *
 *   opening --loaded--> open --last session left--> (lingers) --> closed
 *      |                  |--lost touch with the log--> closed, its sessions told to reconnect
 *      |                  \--the lineage ends or begins--> closed, its sessions told so; the next one opens it anew
 *      \--load failed--> closed, its sessions told why; nothing is overwritten
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { Coverage, EngineName } from '../../core/engine/engine.ts'
import { engineOf } from '../../core/engine/engine-of.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import type { CompactionResult } from '../compaction/compactor.ts'
import type { TailStats } from '../compaction/policy.ts'
import { counts, fold } from '../log/lineage.ts'
import type { Entry, Follower, IdempotencyKey, Subscription } from '../log/log.ts'
import type { Lineage } from '../log/metadata.ts'
import { type Have, type Joined, lackedBy, Milestones, missedBy } from './catch-up.ts'
import type { Dialect } from './dialect.ts'
import { heedOf } from './heed.ts'
import { Image } from './image.ts'
import { Known, learn, wrongEngine } from './known.ts'
import { coverageAhead } from './read-ahead.ts'
import { RoomBroadcast } from './room-broadcast.ts'
import type { RoomContext } from './room-context.ts'
import { RoomPresence } from './room-presence.ts'
import type { Session } from './session.ts'
import { Submits, type Submitter } from './submits.ts'
import { lengthen, shorten, tailOf } from './tail.ts'
import type { Flushable } from './tick.ts'

interface Open {
  readonly kind: 'open'
  readonly known: Known
  readonly subscription: Subscription
}
type State = { readonly kind: 'opening' } | Open | { readonly kind: 'closed' }

export class Room implements Flushable, Follower {
  readonly document: DocumentId
  readonly sessions = new Set<Session>()
  /** Resolves when the room is open, rejects with `document_unreadable` or `log_unavailable`. */
  readonly opened: Promise<void>
  readonly stats: TailStats
  readonly presence: RoomPresence
  readonly broadcast: RoomBroadcast
  readonly image: Image
  private readonly submits: Submits
  private readonly context: RoomContext
  private state: State = { kind: 'opening' }
  private head: Offset = noOffset
  private outgoing: Entry[] = []
  /** Of all that is outgoing, when that is one of ours. */
  private outgoingAuthor: Submitter | null = null
  private scheduled = false
  /** Sessions with updates that are durable, of which they have not been told. */
  private readonly owed = new Set<Session>()
  private readonly milestones = new Milestones()

  constructor(document: DocumentId, context: RoomContext) {
    this.document = document
    this.context = context
    const { log, images } = context
    this.presence = new RoomPresence(document, this.sessions, context)
    this.broadcast = new RoomBroadcast(document, this.sessions, context)
    this.submits = new Submits(document, context, {
      onWaiting: () => this.schedule(),
      onFailed: () => this.lostFacts(),
      heard: (offset) => (offset <= this.head ? Promise.resolve() : this.milestones.reached(offset)),
    })
    this.image = new Image(document, log, images)
    this.stats = { tailBytes: 0, tailCount: 0, snapshotBytes: 0, oldestMs: 0, compactedMs: 0 }
    this.opened = this.open()
    // Whoever joins handles the rejection; without anybody there is nobody to tell.
    this.opened.catch(() => undefined)
  }

  /** Updates taken in that are not yet durable. */
  get busy(): boolean {
    return this.submits.busy
  }

  /** Of the last entry delivered here. */
  get offset(): Offset {
    return this.head
  }

  get lineage(): Lineage {
    return this.openState().known.lineage
  }

  /** Null as long as nobody has written. */
  get engine(): EngineName | null {
    return this.openState().known.engine
  }

  private async open(): Promise<void> {
    const { log } = this.context
    const loaded = await log.load(this.document)
    const content = fold(loaded)
    await this.image.seed(content, Date.now())
    const coverage = await coverageAhead(content, (entry, error) => this.unreadable(entry, error))
    if (this.state.kind === 'closed') return this.image.drop()
    const known = new Known(content, coverage, this.context.factRulesOf(this.document))
    this.head = loaded.offset
    Object.assign(this.stats, tailOf(loaded))
    // The log may deliver before `follow` resolves: what is known must be in place.
    const open = { kind: 'open', known } as const
    this.state = { ...open, subscription: { close: () => undefined } }
    const subscription = await log.follow(this.document, loaded.offset, this)
    if ((this.state as State).kind === 'closed') return subscription.close()
    this.state = { ...open, subscription }
    this.presence.ask()
    this.context.onTail(this.document, this.stats)
  }

  close(): void {
    if (this.state.kind === 'open') this.state.subscription.close()
    this.state = { kind: 'closed' }
    this.image.drop()
    this.presence.close()
    this.milestones.close()
  }

  enter(session: Session): void {
    this.sessions.add(session)
    this.presence.tell(session)
  }

  leave(session: Session): void {
    session.ended()
    this.sessions.delete(session)
    this.owed.delete(session)
    this.presence.leave(session)
  }

  /** The version a replica of this engine can send its own changes against. Throws as `coverage`. */
  version(engine: EngineName): Uint8Array {
    return this.coverage(engine).version()
  }

  /** What the log holds, as this engine tells it; to be read only. Throws `document_removed` and `wrong_engine`. */
  coverage(engine: EngineName): Coverage {
    const { known } = this.openState()
    if (known.lineage.removed) throw new TidemarkError('document_removed', 'The document was deleted')
    return known.of(engine).coverage
  }

  /** See `Submits.submit`. */
  submit(from: Submitter, update: Uint8Array, whole: boolean, key?: IdempotencyKey): boolean {
    return this.submits.submit(from, update, whole, this.openState().known, this.stats, key)
  }

  private openState(): Open {
    if (this.state.kind !== 'open') throw new TidemarkError('overloaded', 'The document is being reopened')
    return this.state
  }

  // --- fan-out ----------------------------------------------------------------------------------

  onEntries(entries: readonly Entry[]): void {
    for (const entry of entries) {
      // A statement may have closed the room.
      if (this.state.kind !== 'open') return
      if (entry.offset !== this.head + 1) {
        const { document, head } = this
        this.context.logger.error({ document, expected: head + 1, got: entry.offset }, 'gap')
        return this.fail('internal', 'The log has a gap')
      }
      this.head = entry.offset
      lengthen(this.stats, entry)
      const { known } = this.state
      if (counts(entry, known.lineage, known.engine)) this.take(entry, known)
      else this.heed(entry, known)
    }
    this.context.onTail(this.document, this.stats)
    this.milestones.passed(this.head)
    this.schedule()
  }

  private take(entry: Entry, known: Known): void {
    const name = engineOf(entry.update)
    const isFirst = known.engine === null
    const held = isFirst ? known.decide(name) : known.of(name)
    const own = this.submits.delivered(entry)
    if (own !== null) held.coverage.add(own.outline)
    else
      try {
        learn(held, entry.update)
      } catch (error) {
        this.unreadable(entry, error)
      }
    this.image.append(entry)
    if (isFirst) this.endOthers(name)
    const author = own?.from ?? null
    if (this.outgoing.length === 0) this.outgoingAuthor = author
    else if (author !== this.outgoingAuthor) this.outgoingAuthor = null
    this.outgoing.push(entry)
  }

  /** The document has an engine now: whoever came with another one cannot stay. */
  private endOthers(engine: EngineName): void {
    for (const session of this.sessions) {
      if (session.engine === engine) continue
      const { code, message } = wrongEngine(engine, session.engine)
      session.close(code, message)
    }
  }

  /** An entry that is no update of this document, or of no lineage that it is in. */
  private heed(entry: Entry, known: Known): void {
    const heed = heedOf(entry, known)
    if (heed?.kind === 'fail') this.fail(heed.code, heed.reason)
    else if (heed?.kind === 'reread') this.image.drop()
    else if (heed?.kind === 'void') this.submits.delivered(entry)?.from.close(heed.code, heed.reason)
  }

  /** An entry that validation on some node let through and that cannot be read is skipped, not fatal. */
  private unreadable(entry: Entry, error: unknown): void {
    const { document } = this
    this.context.logger.error({ document, offset: entry.offset, err: error }, 'unreadable entry')
  }

  /** Facts may have been let in that are not in the log. */
  private lostFacts(): void {
    if (this.state.kind === 'open' && this.state.known.factRules !== null)
      this.fail('log_unavailable', 'The update could not be stored')
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    this.context.tick.schedule(this)
  }

  /** Called once per tick with something to do: what came in goes to the log, what became durable goes out. */
  flush(): void {
    this.scheduled = false
    this.submits.flush()
    if (this.outgoing.length > 0) {
      const entries = this.outgoing
      this.outgoing = []
      this.fanOut(entries, this.outgoingAuthor)
    }
    if (this.owed.size > 0) this.tellDelivered()
  }

  /** Something of this session is durable: it is told when everything up to there has been handed to it. */
  owe(session: Session): void {
    this.owed.add(session)
    this.schedule()
  }

  private tellDelivered(): void {
    for (const session of this.owed) {
      // Whoever is behind is told when it has caught up, so that it cannot pile up acknowledgements it does not read.
      if (session.state !== 'live') continue
      if (session.full) {
        this.fallBehind(session)
        continue
      }
      // Nothing waits to go out: it has everything up to the head.
      if (session.offset < this.head) session.offset = this.head
      if (session.delivered(session.offset)) this.owed.delete(session)
    }
  }

  /** `author`: of all of them, null when there is no such session here. */
  private fanOut(entries: readonly Entry[], author: Submitter | null): void {
    const nowMs = Date.now()
    const head = entries.at(-1)!.offset
    const encoded = new Map<Dialect, Uint8Array>()
    let deliveries = 0
    for (const session of this.sessions) {
      if (session.state !== 'live') continue
      if (session === author && !session.echo) {
        if (session.offset < head) session.offset = head
        continue
      }
      if (session.full) {
        this.fallBehind(session)
        continue
      }
      if (session.offset >= entries[0]!.offset) {
        this.tellRest(session, entries, nowMs)
        continue
      }
      let bytes = encoded.get(session.dialect)
      if (bytes === undefined) {
        bytes = session.dialect.entries(entries)
        encoded.set(session.dialect, bytes)
      }
      session.write(bytes, nowMs)
      session.offset = head
      deliveries++
    }
    this.context.metrics.fannedOut(entries.length * deliveries, nowMs - entries[0]!.timeMs)
  }

  /** To one that came, or caught up, when some of these were about to go out. */
  private tellRest(session: Session, entries: readonly Entry[], nowMs: number): void {
    const rest = entries.filter(({ offset }) => offset > session.offset)
    if (rest.length === 0) return
    session.write(session.dialect.entries(rest), nowMs)
    session.offset = rest.at(-1)!.offset
  }

  // --- join and resync --------------------------------------------------------------------------

  /** Answers a replica with what it lacks, after which the session is live. */
  async join(session: Session, have: Have, answer: (joined: Joined) => Uint8Array[]): Promise<void> {
    if (session.state === 'closed' || session.state === 'joining') return
    const { known } = this.openState()
    const { engine } = session
    if (known.lineage.removed) throw new TidemarkError('document_removed', 'The document was deleted')
    if (known.of(engine).ended?.seenBy(have.version))
      throw new TidemarkError('stale_replica', 'This replica comes from a lineage that was deleted')
    session.state = 'joining'
    const joined = await lackedBy(have, engine, this.document, this.head, known, this.context.log, this.image)
    // Read just now, it may be ahead of what the room has heard, perhaps by the end of the lineage: then the room closes.
    if (joined.offset > this.head) await this.milestones.reached(joined.offset)
    if ((session.state as string) === 'closed') return
    session.writeAll(answer(joined), Date.now())
    session.state = 'live'
    if (!session.dialect.presenceBeforeJoin) this.presence.tell(session)
    this.goOnFrom(joined.offset, session)
  }

  /** It is live, and has everything up to the offset. */
  private goOnFrom(offset: Offset, session: Session): void {
    session.offset = offset
    if (this.owed.has(session)) this.schedule()
    if (offset < this.head) this.fallBehind(session)
  }

  private fallBehind(session: Session): void {
    session.state = 'behind'
    this.context.metrics.fellBehind()
    session.whenDrained(() =>
      this.resync(session).catch((error: unknown) => {
        this.context.logger.error({ document: this.document, err: error }, 'resync failed')
        session.close('document_unreadable', 'The document could not be read')
      }),
    )
  }

  /** Brings a session from its offset to the log's head with one write, then looks again. */
  private async resync(session: Session): Promise<void> {
    if (session.state !== 'behind') return
    // Others on its socket have come before it.
    if (session.full) return this.fallBehind(session)
    const { log } = this.context
    const loaded = await log.load(this.document, session.offset)
    if ((session.state as string) !== 'behind' || this.state.kind !== 'open') return
    const missed = missedBy(session.offset, loaded, this.head, this.state.known.lineage, session.engine)
    if (missed === null) return
    const { dialect } = session
    if (missed.kind === 'update') session.writeAll(dialect.caughtUp(missed.chunks, missed.offset), Date.now())
    else if (missed.entries.length > 0) session.write(dialect.entries(missed.entries), Date.now())
    session.state = 'live'
    this.presence.tellAgain(session)
    this.goOnFrom(missed.offset, session)
  }

  onEphemeral(bytes: Uint8Array): void {
    if (!this.broadcast.hear(bytes)) this.presence.hear(bytes)
  }

  /** A compaction took entries out of the tail. */
  compacted(result: CompactionResult): void {
    shorten(this.stats, result, Date.now())
    this.image.drop()
  }

  /** This node lost touch for so long that what it missed is compacted: everybody starts over from the log. */
  onCompactedPast(): void {
    this.fail('overloaded', 'The connection to the log was interrupted; reconnect')
  }

  /** Ends every session; the next one opens the room anew. */
  private fail(code: ErrorCode, reason: string): void {
    this.close()
    for (const session of this.sessions) session.close(code, reason)
    this.context.onFailed(this)
  }
}
