/**
 * An administrator ends a user's or a document's sessions: at once, on all nodes, durably. It is built on the
 * log itself, as a document that no client can name, so it needs no other store, and two nodes agree by the same
 * means as they agree on edits.
 *
 *   end → log.append → durable → told here ─▶ listeners close sessions
 *                         └─▶ followers of other nodes: told there, once
 *   start: load → follow after what was loaded;  compacted past → load anew, tell what is new, follow
 *
 * - A revoked subject's tokens that were issued at or before `atMs` are refused, also after a restart and on a
 *   node that was away. `atMs` is the clock of the node that was told, `iat` that of the issuer.
 * - A document's revocation ends the sessions there are and refuses nobody afterwards.
 * - Tokens are refused by what is known. While the log is away, other nodes' revocations come later, not never.
 * - What cannot be read at the start ends the start: it must not mean that nobody is revoked.
 *
 * Rejected: a list of token ids (`jti`), which tokens need not have and administrators do not know.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../core/document-id.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Entry, Log, Subscription } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Revocation, Revocations, RevocationTarget } from './access.ts'
import { nameLengthMax } from './grants.ts'
import { decodeRevocation, decodeSnapshot, encodeRevocation, encodeSnapshot } from './revocation-codec.ts'
import { Revoked, revokedLimits } from './revoked.ts'

/** Begins with a control character: no client can name it, no list shows it. */
export const accessDocument = '\u0000access' as DocumentId

export const revocationsLimits = { ...revokedLimits, tailCountMax: 1_000, retryMs: 100, retryMsMax: 5_000 }
export type RevocationsLimits = typeof revocationsLimits

export interface RevocationsOptions {
  readonly log: Pick<Log, 'append' | 'load' | 'follow' | 'compact'>
  readonly logger: Logger
  /** REVOCATION_DAYS. */
  readonly days: number
  readonly limits?: Partial<RevocationsLimits>
  /** Absent: the system's clock. */
  readonly nowMs?: () => number
}

export function createRevocations(options: RevocationsOptions): Revocations {
  return new LogRevocations(options)
}

type Listener = (revocation: Revocation) => void

class LogRevocations implements Revocations {
  private readonly log: RevocationsOptions['log']
  private readonly logger: Logger
  private readonly limits: RevocationsLimits
  private readonly nowMs: () => number
  private readonly revoked: Revoked
  private readonly listeners = new Set<Listener>()
  private readonly origin = `access-${randomUUID()}`
  private readonly closing = new AbortController()
  /** Before, nothing is news: there are no sessions to end. */
  private started = false
  /** Everything up to here has been taken in and told. */
  private position: Offset = noOffset
  /** This node's own that were told when they became durable, and will come again from the log. */
  private readonly toldEarly = new Set<Offset>()
  private snapshotOffset: Offset = noOffset
  private tailCount = 0
  private subscription: Subscription | null = null
  private following: Promise<void> = Promise.resolve()
  private compacting: Promise<void> | null = null

  constructor({ log, logger, days, limits, nowMs = Date.now }: RevocationsOptions) {
    this.log = log
    this.logger = logger
    this.limits = { ...revocationsLimits, ...limits }
    this.nowMs = nowMs
    this.revoked = new Revoked(days * 86_400_000, this.limits)
  }

  async start(): Promise<void> {
    await this.catchUp()
    this.started = true
  }

  async close(): Promise<void> {
    this.closing.abort()
    this.subscription?.close()
    await this.following
    await this.compacting
    this.listeners.clear()
  }

  refuses(subject: string, issuedMs: number | null): boolean {
    return this.revoked.refuses(subject, issuedMs, this.nowMs())
  }

  onRevoked(listener: Listener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  async end(target: RevocationTarget, author = ''): Promise<void> {
    const timeMs = this.nowMs()
    const revocation = revocationOf(target, timeMs)
    const update = encodeRevocation(revocation)
    const [appended] = await this.log.append(accessDocument, [
      { timeMs, author, origin: this.origin, update },
    ])
    // The caller's next question comes before the follower's next entry, and must not be let through.
    if (appended === undefined || appended.offset <= this.position) return
    this.toldEarly.add(appended.offset)
    this.take(revocation)
    this.tell(revocation)
  }

  /** Loads, tells what is new, follows. Again, when a compaction came in between. */
  private async catchUp(): Promise<void> {
    for (let current = false; !current && !this.closing.signal.aborted; ) {
      const fresh = await this.load()
      for (const revocation of fresh) this.tell(revocation)
      current = true
      let started = false
      this.subscription = await this.log.follow(accessDocument, this.position, {
        onEntries: (entries) => this.onEntries(entries),
        onEphemeral: () => {},
        onCompactedPast: () => {
          if (started) this.following = this.catchUpWithRetries()
          else current = false
        },
      })
      started = true
    }
    if (this.closing.signal.aborted) this.subscription?.close()
  }

  private async catchUpWithRetries(): Promise<void> {
    const { signal } = this.closing
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        return await this.catchUp()
      } catch (error) {
        if (signal.aborted) return
        this.logger.warn({ err: error, attempt }, 'revocations cannot be followed; tried again')
        const pauseMs = Math.min(this.limits.retryMsMax, this.limits.retryMs * 2 ** attempt)
        await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {
          // Closing: the loop sees it.
        })
      }
    }
  }

  /** What it says that was not known. */
  private async load(): Promise<readonly Revocation[]> {
    const { snapshot, tail, offset } = await this.log.load(accessDocument)
    const stored = snapshot === null ? { subjects: [], documents: [] } : decodeSnapshot(snapshot.bytes)
    const all: Revocation[] = [
      ...stored.subjects.map(([subject, atMs]) => ({ kind: 'subject', subject, atMs }) as const),
      ...stored.documents.map(([document, atMs]) => ({ kind: 'document', document, atMs }) as const),
      ...tail.flatMap((entry) => this.decode(entry) ?? []),
    ]
    if (offset < this.position) {
      this.logger.error(
        { had: this.position, has: offset },
        'the log lost revocations; this node still knows them',
      )
      // Others will take the places of those that were lost.
      this.toldEarly.clear()
    }
    this.position = offset
    this.snapshotOffset = snapshot?.offset ?? noOffset
    this.tailCount = tail.length
    for (const early of this.toldEarly) if (early <= offset) this.toldEarly.delete(early)
    return all.filter((revocation) => this.take(revocation))
  }

  private onEntries(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.position = entry.offset
      this.tailCount++
      const revocation = this.decode(entry)
      if (this.toldEarly.delete(entry.offset) || revocation === null) continue
      this.take(revocation)
      this.tell(revocation)
    }
    if (this.tailCount > this.limits.tailCountMax) this.compact()
  }

  private decode(entry: Entry): Revocation | null {
    const revocation = decodeRevocation(entry.update)
    if (revocation === null) this.logger.error({ offset: entry.offset }, 'unreadable revocation, skipped')
    return revocation
  }

  private take(revocation: Revocation): boolean {
    const wasFull = this.revoked.full
    const fresh = this.revoked.add(revocation, this.nowMs())
    if (!wasFull && this.revoked.full)
      this.logger.warn({ subjectsMax: this.limits.subjectsMax }, 'as many subjects are revoked as are kept')
    return fresh
  }

  private tell(revocation: Revocation): void {
    if (!this.started) return
    for (const listener of this.listeners) {
      try {
        listener(revocation)
      } catch (error) {
        this.logger.error({ err: error }, 'a listener to revocations threw')
      }
    }
  }

  private compact(): void {
    if (this.compacting !== null || this.closing.signal.aborted) return
    this.compacting = this.rewriteSnapshot()
      .catch((error: unknown) => this.logger.warn({ err: error }, 'revocations were not compacted'))
      .finally(() => {
        this.compacting = null
      })
  }

  private async rewriteSnapshot(): Promise<void> {
    // Again, when as many came meanwhile; each turn takes in what there is, or finds what another node has taken.
    while (this.tailCount > this.limits.tailCountMax && !this.closing.signal.aborted) {
      const offset = this.position
      const bytes = encodeSnapshot(this.revoked.stored(this.nowMs()))
      const none = new Uint8Array()
      const snapshot = { offset, bytes, index: none, metadata: none }
      const done = await this.log.compact(accessDocument, snapshot, this.snapshotOffset)
      const stored = done ? offset : (await this.log.load(accessDocument)).snapshot?.offset
      this.snapshotOffset = stored ?? noOffset
      this.tailCount = this.position - this.snapshotOffset
    }
  }
}

function revocationOf(target: RevocationTarget, atMs: number): Revocation {
  if (!('subject' in target)) return { kind: 'document', document: target.document, atMs }
  const { subject } = target
  if (subject === '' || subject.length > nameLengthMax || !subject.isWellFormed())
    throw new TidemarkError('invalid_request', `A subject has 1 to ${nameLengthMax} characters`)
  return { kind: 'subject', subject, atMs }
}
