/**
 * A document's live sessions on one node, and the only way into its log.
 *
 *   submit    validate, skip what the log already contains, collect until the end of the tick, append,
 *             acknowledge. Nothing reaches another session from here.
 *   fan-out   the room follows the log from the offset it loaded. What the log says is durable, it
 *             encodes once per dialect and writes to every live session, in offset order, its own
 *             node's entries and other nodes' alike (P1, P2).
 *   join      a session tells its version and gets what it lacks as of the room's image, then goes live.
 *   resync    a session whose socket is full is marked behind and brought up to date from the log later.
 *
 * The room holds what the log contains as ranges (coverage), never a document. The coverage counts
 * durable entries only, so "already there" is never said of an update that could still be lost.
 *
 *   opening --loaded--> open --last session left--> (lingers) --> closed
 *      |                  \--lost touch with the log--> closed, its sessions told to reconnect
 *      \--load failed--> closed, its sessions told why; nothing is overwritten
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { Coverage, Engine, Outline } from '../../core/engine/engine.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { type AwarenessLimits, decodeAwareness, encodeAwareness } from '../../core/protocol/awareness.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import type { CompactionResult } from '../compaction/compactor.ts'
import type { TailStats } from '../compaction/policy.ts'
import type { Entry, Follower, Log, NewEntry, Subscription } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { Dialect } from './dialect.ts'
import { Image, type ImageBudget } from './image.ts'
import { Presence, type PresenceLimits } from './presence.ts'
import type { Session } from './session.ts'
import type { Flushable, Tick } from './tick.ts'

export interface RoomLimits extends AwarenessLimits, PresenceLimits {
  readonly updateBytesMax: number
  /** At most one presence frame to each session in this time. */
  readonly awarenessFrameMs: number
}

export interface RoomContext {
  readonly engine: Engine
  readonly log: Log
  readonly tick: Tick
  readonly images: ImageBudget
  readonly limits: RoomLimits
  readonly logger: Logger
  readonly metrics: Metrics
  /** Called when the tail has grown; decides whether to compact. */
  readonly onTail: (document: DocumentId, stats: TailStats) => void
  /** The room is of no use any more. */
  readonly onFailed: (room: Room) => void
}

/** An update on its way into the log. */
interface Submit extends NewEntry {
  readonly session: Session
  readonly outline: Outline
}

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly coverage: Coverage; readonly subscription: Subscription }
  | { readonly kind: 'closed' }

/** The first byte of what rooms of one document say to each other across nodes. */
const ephemeralStates = 0
const ephemeralQuery = 1

/** For what is in the log already, or comes from another node. */
const unlimited = {
  updateBytesMax: Number.MAX_SAFE_INTEGER,
  awarenessBytesMax: Number.MAX_SAFE_INTEGER,
  awarenessClientsMax: Number.MAX_SAFE_INTEGER,
}

export class Room implements Flushable, Follower {
  readonly document: DocumentId
  readonly sessions = new Set<Session>()
  private readonly byId = new Map<string, Session>()
  /** Resolves when the room is open, rejects with `document_unreadable` or `log_unavailable`. */
  readonly opened: Promise<void>
  readonly stats: TailStats
  private state: State = { kind: 'opening' }
  private offset: Offset = noOffset
  private submits: Submit[] = []
  /** Appended and not yet delivered, in order: their outlines are reused on delivery. */
  private readonly inFlight: Submit[] = []
  private outgoing: Entry[] = []
  private scheduled = false
  private readonly presence: Presence
  private presenceTimer: NodeJS.Timeout | null = null
  private presenceSentMs = 0
  private readonly image: Image
  private readonly context: RoomContext

  constructor(document: DocumentId, context: RoomContext) {
    this.document = document
    this.context = context
    this.presence = new Presence(context.limits)
    this.image = new Image(document, context.engine, context.log, context.images)
    this.stats = { tailBytes: 0, tailCount: 0, snapshotBytes: 0, oldestMs: 0, compactedMs: 0 }
    this.opened = this.open()
    // Whoever joins handles the rejection; without anybody there is nobody to tell.
    this.opened.catch(() => undefined)
  }

  /** Updates taken in that are not yet durable. */
  get busy(): boolean {
    return this.submits.length > 0 || this.inFlight.length > 0
  }

  private async open(): Promise<void> {
    const { engine, log } = this.context
    const loaded = await log.load(this.document)
    if (this.state.kind === 'closed') return
    const coverage = engine.coverageOf(loaded.snapshot)
    for (const entry of loaded.tail) this.cover(coverage, entry)
    this.offset = loaded.offset
    this.image.seed(loaded, Date.now())
    this.stats.snapshotBytes = loaded.snapshot?.bytes.length ?? 0
    this.stats.tailCount = loaded.tail.length
    this.stats.tailBytes = loaded.tail.reduce((sum, entry) => sum + entry.update.length, 0)
    this.stats.oldestMs = loaded.tail[0]?.timeMs ?? 0
    // The log may deliver before `follow` resolves: coverage must be in place.
    this.state = { kind: 'open', coverage, subscription: { close: () => undefined } }
    const subscription = await log.follow(this.document, loaded.offset, this)
    if ((this.state as State).kind === 'closed') return subscription.close()
    this.state = { kind: 'open', coverage, subscription }
    log.publish(this.document, Uint8Array.of(ephemeralQuery))
    this.context.onTail(this.document, this.stats)
  }

  close(): void {
    if (this.state.kind === 'open') this.state.subscription.close()
    this.state = { kind: 'closed' }
    this.image.drop()
    if (this.presenceTimer !== null) clearTimeout(this.presenceTimer)
  }

  enter(session: Session): void {
    this.sessions.add(session)
    this.byId.set(session.id, session)
    const states = this.presence.states()
    if (states.length > 0) session.write(session.dialect.awareness(encodeAwareness(states)), Date.now())
  }

  leave(session: Session): void {
    session.state = 'closed'
    this.sessions.delete(session)
    this.byId.delete(session.id)
    if (this.presence.removeOwnedBy(session, Date.now())) this.presenceChanged()
  }

  /** The version a replica can send its own changes against. */
  version(): Uint8Array {
    return this.openState().coverage.version()
  }

  private openState(): State & { kind: 'open' } {
    if (this.state.kind !== 'open') throw new TidemarkError('internal', `room is ${this.state.kind}`)
    return this.state
  }

  // --- submit -----------------------------------------------------------------------------------

  /**
   * Takes an update into the log. Throws what `engine.validate` throws; a failed append closes the
   * session with the reason. `whole` says that the update is all a replica has to say (an answer to
   * our version), which repeats much of what is known: the known part is left out of the log.
   */
  submit(session: Session, update: Uint8Array, whole: boolean): void {
    const { coverage } = this.openState()
    const { engine, limits, tick } = this.context
    let outline = engine.validate(update, limits)
    if (coverage.covers(outline)) return
    let bytes = update
    if (whole) {
      bytes = engine.trim(update, outline, coverage)
      if (bytes !== update) outline = engine.validate(bytes, limits)
    }
    session.taken(bytes.length)
    this.submits.push({
      timeMs: Date.now(),
      author: session.author,
      origin: session.id,
      update: bytes,
      session,
      outline,
    })
    if (!this.scheduled) {
      this.scheduled = true
      tick.schedule(this)
    }
  }

  /** Called once per tick with something to do: what came in goes to the log, what became durable goes out. */
  flush(): void {
    this.scheduled = false
    if (this.submits.length > 0) {
      const batch = this.submits
      this.submits = []
      void this.append(batch)
    }
    if (this.outgoing.length > 0) {
      const entries = this.outgoing
      this.outgoing = []
      this.fanOut(entries)
    }
  }

  private async append(batch: Submit[]): Promise<void> {
    for (const submit of batch) this.inFlight.push(submit)
    const { log, metrics, logger } = this.context
    const startedMs = performance.now()
    try {
      await log.append(this.document, batch)
      metrics.appended(batch.length, performance.now() - startedMs)
      for (const submit of batch) submit.session.settled(submit.update.length)
    } catch (error) {
      this.forgetInFlight(batch)
      const known = error instanceof TidemarkError
      metrics.appendFailed(batch.length)
      if (known) logger.warn({ document: this.document, code: error.code }, 'append refused')
      else logger.error({ document: this.document, err: error }, 'append failed')
      const reason = known ? error.message : 'The update could not be stored'
      for (const submit of batch) submit.session.close(known ? error.code : 'internal', reason)
    }
  }

  private forgetInFlight(batch: readonly Submit[]): void {
    const failed = new Set(batch)
    const kept = this.inFlight.filter((submit) => !failed.has(submit))
    this.inFlight.length = 0
    this.inFlight.push(...kept)
  }

  // --- fan-out ----------------------------------------------------------------------------------

  onEntries(entries: readonly Entry[]): void {
    if (this.state.kind !== 'open') return
    for (const entry of entries) {
      if (entry.offset !== this.offset + 1) {
        this.context.logger.error(
          { document: this.document, expected: this.offset + 1, got: entry.offset },
          'gap',
        )
        return this.fail('internal', 'The log has a gap')
      }
      this.offset = entry.offset
      this.cover(this.state.coverage, entry)
      this.image.append(entry)
      this.stats.tailCount++
      this.stats.tailBytes += entry.update.length
      if (this.stats.oldestMs === 0) this.stats.oldestMs = entry.timeMs
      this.outgoing.push(entry)
    }
    this.context.onTail(this.document, this.stats)
    if (this.scheduled) return
    this.scheduled = true
    this.context.tick.schedule(this)
  }

  /** An entry that validation on some node let through and that cannot be read is skipped, not fatal. */
  private cover(coverage: Coverage, entry: Entry): void {
    const own = this.inFlight[0]
    if (own !== undefined && own.update === entry.update) {
      this.inFlight.shift()
      return coverage.add(own.outline)
    }
    try {
      coverage.add(this.context.engine.validate(entry.update, unlimited))
    } catch (error) {
      this.context.logger.error(
        { document: this.document, offset: entry.offset, err: error },
        'unreadable entry',
      )
    }
  }

  private fanOut(entries: readonly Entry[]): void {
    const nowMs = Date.now()
    const head = entries.at(-1)!.offset
    // Compared once here: comparing strings for each session costs more than all else but the write.
    const author = this.byId.get(soleOrigin(entries) ?? '')
    const encoded = new Map<Dialect, Uint8Array>()
    let deliveries = 0
    for (const session of this.sessions) {
      if (session.state !== 'live') continue
      if (session === author && !session.echo) {
        session.offset = head
        continue
      }
      if (session.full) {
        this.fallBehind(session)
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

  // --- join and resync --------------------------------------------------------------------------

  /** Answers a replica's version with what it lacks, after which the session is live. */
  async join(session: Session, version: Uint8Array): Promise<void> {
    if (session.state === 'closed' || session.state === 'joining') return
    session.state = 'joining'
    const { chunks, offset } = await this.image.join(version, Date.now())
    if ((session.state as string) === 'closed') return
    session.writeAll(session.dialect.joined(chunks, offset), Date.now())
    session.offset = offset
    session.state = 'live'
    if (offset < this.offset) this.fallBehind(session)
  }

  private fallBehind(session: Session): void {
    session.state = 'behind'
    this.context.metrics.fellBehind()
    session.whenDrained(() => {
      this.resync(session).catch((error: unknown) => {
        this.context.logger.error({ document: this.document, err: error }, 'resync failed')
        session.close('document_unreadable', 'The document could not be read')
      })
    })
  }

  /** Brings a session from its offset to the log's head with one write, then looks again. */
  private async resync(session: Session): Promise<void> {
    if (session.state !== 'behind') return
    const { log, engine } = this.context
    const loaded = await log.load(this.document, session.offset)
    if ((session.state as string) !== 'behind') return
    const missing = loaded.tail.filter((entry) => entry.offset > session.offset)
    const nowMs = Date.now()
    if (loaded.snapshot !== null) {
      const chunks = engine.join(
        loaded.snapshot,
        loaded.tail.map((entry) => entry.update),
        engine.emptyVersion,
      )
      session.writeAll(session.dialect.caughtUp(chunks, loaded.offset), nowMs)
    } else if (missing.length > 0) session.write(session.dialect.entries(missing), nowMs)
    session.offset = loaded.offset
    session.state = 'live'
    const states = this.presence.states()
    if (states.length > 0) session.write(session.dialect.awareness(encodeAwareness(states)), nowMs)
    if (loaded.offset < this.offset) this.fallBehind(session)
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

  // --- presence ---------------------------------------------------------------------------------

  /** Throws `malformed_awareness`. */
  receiveAwareness(session: Session, update: Uint8Array): void {
    const states = decodeAwareness(update, this.context.limits)
    if (this.presence.apply(session, states, Date.now())) this.presenceChanged()
  }

  answerAwareness(session: Session): void {
    session.write(session.dialect.awareness(encodeAwareness(this.presence.states())), Date.now())
  }

  onEphemeral(bytes: Uint8Array): void {
    const body = bytes.subarray(1)
    if (bytes[0] === ephemeralQuery) this.publishPresence(this.presence.states(true))
    else if (bytes[0] === ephemeralStates) {
      const states = decodeAwareness(body, unlimited)
      if (this.presence.apply('remote', states, Date.now())) this.presenceChanged()
    }
  }

  /** A compaction took entries out of the tail. */
  compacted(result: CompactionResult): void {
    const { stats } = this
    stats.snapshotBytes = result.snapshotBytes
    stats.tailCount = Math.max(0, stats.tailCount - result.droppedCount)
    stats.tailBytes = Math.max(0, stats.tailBytes - result.droppedBytes)
    stats.oldestMs = stats.tailCount === 0 ? 0 : Date.now()
    stats.compactedMs = Date.now()
    this.image.drop()
  }

  /** Called every second or so. */
  sweepPresence(nowMs: number): void {
    if (this.presence.needsSweep && this.presence.sweep(nowMs)) this.presenceChanged()
  }

  /** The first change goes out at once, further ones together when `awarenessFrameMs` has passed. */
  private presenceChanged(): void {
    if (this.presenceTimer !== null) return
    const wait = Math.max(0, this.presenceSentMs + this.context.limits.awarenessFrameMs - Date.now())
    this.presenceTimer = setTimeout(() => {
      this.presenceTimer = null
      this.sendPresence()
    }, wait)
  }

  private sendPresence(): void {
    if (!this.presence.hasDirty) return
    const { all, local } = this.presence.takeDirty()
    const nowMs = Date.now()
    this.presenceSentMs = nowMs
    this.publishPresence(local)
    const encoded = new Map<Dialect, Uint8Array>()
    const update = encodeAwareness(all)
    for (const session of this.sessions) {
      // A session that is behind gets everybody's presence when it has caught up.
      if (session.state === 'closed' || session.state === 'behind') continue
      if (session.full) {
        this.owePresence(session)
        continue
      }
      let bytes = encoded.get(session.dialect)
      if (bytes === undefined) {
        bytes = session.dialect.awareness(update)
        encoded.set(session.dialect, bytes)
      }
      session.write(bytes, nowMs)
    }
  }

  private owePresence(session: Session): void {
    if (session.owedPresence) return
    session.owedPresence = true
    session.whenDrained(() => {
      session.owedPresence = false
      if (session.state !== 'closed') this.answerAwareness(session)
    })
  }

  private publishPresence(states: ReturnType<Presence['states']>): void {
    if (states.length === 0) return
    const update = encodeAwareness(states)
    const bytes = new Uint8Array(1 + update.length)
    bytes[0] = ephemeralStates
    bytes.set(update, 1)
    this.context.log.publish(this.document, bytes)
  }
}

function soleOrigin(entries: readonly Entry[]): string | null {
  const origin = entries[0]!.origin
  for (const entry of entries) if (entry.origin !== origin) return null
  return origin
}
