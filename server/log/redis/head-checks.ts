/**
 * Whether what was delivered here is what Redis has: the heads of followed documents are compared with the stored ones.
 *
 *   after a reconnect   of all, and their last entries: Redis may have come back with less than it acked. Tried until it
 *                       succeeds, with what had been delivered when the connection ended: what came since may
 *                       continue that by number only
 *   regularly           of those that the list of changes says were appended to since the last check, and of some
 *                       more in turn, all of them within `headCheckRounds` checks
 *
 * A message that was lost without any sign holds its follower back until the next check, which costs what was appended to,
 * not what is open. The turn is for what the list of changes does not say: a stream that somebody shortened or wrote by hand.
 * Should the list itself have lost something, or hold more than is followed here, all heads are compared.
 *
 * Rejected: all heads in each check. 5,000 rooms in which nothing happened took a burst of CPU time every 5 s, here and in
 * Redis, and Redis would have been busy with 1 M rooms alone.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Logger } from '../../logger.ts'
import { readChanges } from './documents.ts'
import { type Delivered, type Feed, type Fingerprint, fingerprintOf } from './feed.ts'
import { readEntry, type Stored } from './stored.ts'

export interface HeadCheckLimits {
  readonly headCheckIntervalMs: number
  /** Compared by one command. */
  readonly headCheckDocumentsMax: number
  /** Checks in which each followed document has its turn at least once. */
  readonly headCheckRounds: number
}

export interface Checked {
  readonly document: DocumentId
  readonly feed: Feed
}

export interface HeadChecksOptions {
  readonly logger: Logger
  readonly limits: HeadCheckLimits
  readonly stored: Stored
  readonly followed: ReadonlyMap<DocumentId, Checked>
}

export class HeadChecks {
  private readonly options: HeadChecksOptions
  private timer: NodeJS.Timeout | null = null
  /** Of the last change that was heeded; null before the first check. */
  private sequence: number | null = null
  private turn: Iterator<Checked> | null = null
  private checking = false
  /** A connection ended or a message was missed, and not everything has been compared since. */
  doubtful = false
  /** Redis was started anew, or is another one, since everything was compared. */
  private otherHistory = false
  /** How often that happened. */
  private doubts = 0

  constructor(options: HeadChecksOptions) {
    this.options = options
  }

  start(): void {
    this.timer = setInterval(() => this.regular(), this.options.limits.headCheckIntervalMs)
  }

  end(): void {
    if (this.timer !== null) clearInterval(this.timer)
  }

  doubt(): void {
    this.doubtful = true
    this.doubts++
  }

  /** What cannot be compared is then loaded anew. */
  expectOtherHistory(): void {
    this.otherHistory = true
  }

  /** After a reconnect. */
  all(): void {
    const { doubts } = this
    this.owned(
      this.compare([...this.options.followed.values()], true).then(() => {
        if (doubts !== this.doubts) return
        this.doubtful = false
        this.otherHistory = false
      }),
    )
  }

  private regular(): void {
    if (this.checking || this.options.followed.size === 0) return
    this.checking = true
    this.owned(
      this.check().finally(() => {
        this.checking = false
      }),
    )
  }

  private owned(work: Promise<void>): void {
    work.catch((error: unknown) => {
      // Redis is not there now; the check after the reconnect, with the next ping or the next regular one follows.
      this.options.logger.debug({ err: error }, 'could not compare heads')
    })
  }

  private async check(): Promise<void> {
    const { followed, stored } = this.options
    const { sequence } = this
    // Asked for first: what is appended from here on is for the next check.
    const latest = await stored.latestChange()
    const changed = sequence === null || latest < sequence ? null : await this.changed(sequence, latest)
    if (changed === null) await this.compare([...followed.values()], false)
    else await this.compare([...new Set([...changed, ...this.unlisted(), ...this.nextInTurn()])], false)
    this.sequence = latest
  }

  /** Those followed that were appended to after `sequence`; null when it is less work to compare all. */
  private async changed(sequence: number, latest: number): Promise<Checked[] | null> {
    const { followed, limits, stored } = this.options
    if (latest === sequence) return []
    if ((await stored.changeCount(sequence)) > followed.size) return null
    const found: Checked[] = []
    for (let after = sequence; after < latest; ) {
      const changes = await readChanges(stored, after, limits.headCheckDocumentsMax)
      for (const { document } of changes) {
        const one = followed.get(document)
        if (one !== undefined) found.push(one)
      }
      after = changes.at(-1)?.sequence ?? latest
    }
    return found
  }

  /** Documents that only Tidemark names: the list of changes leaves them out. */
  private unlisted(): Checked[] {
    return [...this.options.followed.values()].filter(({ document }) => document.charCodeAt(0) < 32)
  }

  private nextInTurn(): Checked[] {
    const { followed, limits } = this.options
    const countMax = Math.max(limits.headCheckDocumentsMax, Math.ceil(followed.size / limits.headCheckRounds))
    const found: Checked[] = []
    this.turn ??= followed.values()
    while (found.length < countMax) {
      const next = this.turn.next()
      if (next.done === true) {
        // Those that came or went meanwhile do not matter: the next turn begins with the next check.
        this.turn = null
        break
      }
      found.push(next.value)
    }
    return found
  }

  /** `entries`: also the last delivered entry. */
  private async compare(some: readonly Checked[], entries: boolean): Promise<void> {
    const known = some.filter(({ feed }) => feed.head !== null)
    const { headCheckDocumentsMax } = this.options.limits
    const parts: Promise<void>[] = []
    for (let i = 0; i < known.length; i += headCheckDocumentsMax)
      parts.push(this.compareSome(known.slice(i, i + headCheckDocumentsMax), entries))
    await Promise.all(parts)
  }

  private async compareSome(some: readonly Checked[], entries: boolean): Promise<void> {
    const { logger, stored } = this.options
    const points = some.flatMap((one) => one.feed.delivered.map((delivered) => ({ ...one, delivered })))
    const asked = entries ? points : points.filter(({ feed, delivered }) => delivered.head === feed.head)
    const found = await stored.heads(
      asked.map(({ document }) => document),
      asked.map(({ delivered }) => (entries ? delivered.head : 0)),
    )
    const lost = new Set<Feed>()
    for (const [i, { document, feed, delivered }] of asked.entries()) {
      const { head: storedHead, entry } = found[i]!
      if (feed.head === null || lost.has(feed)) continue
      const { head } = delivered
      if (storedHead < head || (entry !== null && this.isAnother(entry, delivered))) {
        logger.error({ document, delivered: head, stored: storedHead }, 'Redis lost acknowledged entries')
        lost.add(feed)
        feed.lost()
      } else {
        if (entries) feed.trust(delivered)
        feed.noticeHead(storedHead)
      }
    }
  }

  private isAnother(entry: Buffer, { head, fingerprint }: Delivered): boolean {
    // A follower that was given nothing since it loaded: in another history, nobody knows.
    return fingerprint === null ? this.otherHistory : isAnotherEntry(entry, head, fingerprint)
  }
}

function isAnotherEntry(bytes: Buffer, offset: number, fingerprint: Fingerprint): boolean {
  try {
    const { timeMs, origin, updateBytes } = fingerprintOf(readEntry(bytes, offset))
    return (
      timeMs !== fingerprint.timeMs ||
      origin !== fingerprint.origin ||
      updateBytes !== fingerprint.updateBytes
    )
  } catch {
    // Damaged: the load that follows names the cause.
    return true
  }
}
