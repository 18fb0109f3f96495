/**
 * The one order of a document's entries on this node (P2). Entries come from three sides: own appends
 * from their reply, those of other nodes from the channel, both from reads of the stream. A feed
 * merges them by offset: what continues its head is delivered, what is old is dropped, and what comes
 * early waits, bounded, while its gap is either filled within a short grace or read from the stream.
 *
 *   offer(first, entries)   first ≤ head + 1: deliver what is new, then what waited
 *                           else: keep (bounded), remember how far the log goes (`seen`), and repair
 *
 * A follower starts aside (`joining`): it reads the stream from its own position, while what is
 * delivered meanwhile is kept for it, until both meet. The subscription is confirmed before the first
 * read, so nothing falls between. The channel may lose messages at will (reconnect, full output
 * buffer): whatever comes next, or the log's own check of all heads, shows the gap.
 *
 * Redis may come back as another one, with less or other entries (feeds.ts). What was delivered before a
 * connection ended is kept as a doubt until it has been compared: entries of the new history may continue
 * the head by number, and once they have, the head alone no longer shows what is missing below.
 *
 * No I/O here: reading is the argument `repair`, which ends in `offer` or `lost`.
 */
import { noOffset, type Offset } from '../../../core/offset.ts'
import type { Entry, Follower } from '../log.ts'

export interface FeedLimits {
  /** How long an early entry waits for the one before it, before the stream is read. */
  readonly gapGraceMs: number
  /** Early entries kept, of the feed and of each joining follower; beyond, the stream is read instead. */
  readonly earlyEntriesMax: number
  readonly earlyBytesMax: number
}

export const feedLimits: FeedLimits = {
  gapGraceMs: 20,
  earlyEntriesMax: 1_024,
  earlyBytesMax: 4 * 1024 * 1024,
}

/** What tells an entry from another one that got its offset after Redis lost the first. */
export interface Fingerprint {
  readonly timeMs: number
  readonly origin: string
  readonly updateBytes: number
}

/** The last delivered entry at some time. */
export interface Delivered {
  readonly head: Offset
  readonly fingerprint: Fingerprint | null
}

/** Ends of connections between two comparisons that succeed; beyond, everybody loads anew. */
const doubtsMax = 8

export const fingerprintOf = ({ timeMs, origin, update }: Entry): Fingerprint => ({
  timeMs,
  origin,
  updateBytes: update.length,
})

/** Entries that wait for those before them. Refuses what exceeds its bounds. */
class Waiting {
  private readonly runs = new Map<number, readonly Entry[]>()
  private count = 0
  private bytes = 0
  private readonly limits: FeedLimits

  constructor(limits: FeedLimits) {
    this.limits = limits
  }

  get isEmpty(): boolean {
    return this.runs.size === 0
  }

  add(entries: readonly Entry[]): void {
    const size = entries.reduce((sum, entry) => sum + entry.update.length, 0)
    const first = entries[0]!.offset
    if (this.runs.has(first)) return
    if (this.count + entries.length > this.limits.earlyEntriesMax) return
    if (this.bytes + size > this.limits.earlyBytesMax) return
    this.runs.set(first, entries)
    this.count += entries.length
    this.bytes += size
  }

  /** Takes out everything, in order of offsets; runs may overlap. */
  take(): (readonly Entry[])[] {
    if (this.runs.size === 0) return []
    const runs = [...this.runs.values()].sort((a, b) => a[0]!.offset - b[0]!.offset)
    this.runs.clear()
    this.count = 0
    this.bytes = 0
    return runs
  }
}

/** One follower's place in the feed. */
export class Following {
  readonly follower: Follower
  position: Offset
  state: 'joining' | 'live' | 'ended' = 'joining'
  readonly meanwhile: Waiting

  constructor(follower: Follower, after: Offset, limits: FeedLimits) {
    this.follower = follower
    this.position = after
    this.meanwhile = new Waiting(limits)
  }

  /** Delivers what continues the position; ignores what is older or beyond a gap. */
  deliver(entries: readonly Entry[]): void {
    if (this.state === 'ended' || entries.length === 0) return
    const known = this.position - entries[0]!.offset + 1
    if (known < 0 || known >= entries.length) return
    const fresh = known === 0 ? entries : entries.slice(known)
    this.position = fresh.at(-1)!.offset
    this.follower.onEntries(fresh)
  }

  compactedPast(): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.follower.onCompactedPast()
  }
}

export class Feed {
  private readonly limits: FeedLimits
  private readonly repair: (feed: Feed) => void
  private readonly followings = new Set<Following>()
  private readonly early: Waiting
  private grace: NodeJS.Timeout | null = null
  /** Offset of the last delivered entry; null until the first follower has caught up. */
  head: Offset | null = null
  /** The log is known to go at least this far. */
  private seen: Offset = noOffset
  fingerprint: Fingerprint | null = null
  repairing = false
  private doubts: readonly Delivered[] = []

  constructor(limits: FeedLimits, repair: (feed: Feed) => void) {
    this.limits = limits
    this.repair = repair
    this.early = new Waiting(limits)
  }

  get size(): number {
    return this.followings.size
  }

  get behind(): boolean {
    return this.head !== null && this.seen > this.head
  }

  /** What to compare with the stored log, oldest first; empty until the first follower has caught up. */
  get delivered(): readonly Delivered[] {
    const { head, fingerprint, doubts } = this
    if (head === null) return []
    return doubts.at(-1)?.head === head ? doubts : [...doubts, { head, fingerprint }]
  }

  /** A connection ended: the next one may lead to another history. What waits belongs to the old one. */
  doubt(): void {
    this.early.take()
    this.doubts = this.delivered
    if (this.doubts.length > doubtsMax) this.lost()
  }

  /** This is stored. */
  trust(compared: Delivered): void {
    if (this.doubts.includes(compared)) this.doubts = this.doubts.filter((one) => one !== compared)
  }

  includes(following: Following): boolean {
    return this.followings.has(following)
  }

  add(follower: Follower, after: Offset): Following {
    const following = new Following(follower, after, this.limits)
    this.followings.add(following)
    return following
  }

  remove(following: Following): void {
    following.state = 'ended'
    this.followings.delete(following)
    if (this.followings.size === 0) this.reset()
  }

  private reset(): void {
    if (this.grace !== null) clearTimeout(this.grace)
    this.grace = null
    this.head = null
    this.seen = noOffset
    this.fingerprint = null
    this.doubts = []
    this.early.take()
  }

  /** Contiguous durable entries, from wherever they came. */
  offer(entries: readonly Entry[]): void {
    if (entries.length === 0 || this.followings.size === 0) return
    const first = entries[0]!.offset
    const last = entries.at(-1)!.offset
    if (last > this.seen) this.seen = last
    if (this.head === null || first > this.head + 1) {
      this.early.add(entries)
    } else {
      this.advance(entries)
      for (const run of this.early.isEmpty ? [] : this.early.take()) {
        if (this.head !== null && run[0]!.offset <= this.head + 1) this.advance(run)
        else this.early.add(run)
      }
    }
    this.watchGap()
  }

  private advance(entries: readonly Entry[]): void {
    const known = this.head! - entries[0]!.offset + 1
    if (known >= entries.length) return
    const fresh = known <= 0 ? entries : entries.slice(known)
    const last = fresh.at(-1)!
    this.head = last.offset
    this.fingerprint = fingerprintOf(last)
    // Whoever joins from within a delivery reads these entries anyway.
    for (const following of this.followings) {
      if (following.state === 'live') following.deliver(fresh)
      else if (following.state === 'joining') following.meanwhile.add(fresh)
    }
  }

  /** The log was seen to reach this offset: repairs without grace if the feed does not. */
  noticeHead(head: Offset): void {
    if (head > this.seen) this.seen = head
    if (this.behind) this.startRepair()
  }

  private watchGap(): void {
    if (!this.behind) {
      if (this.grace !== null) clearTimeout(this.grace)
      this.grace = null
      return
    }
    this.grace ??= setTimeout(() => {
      this.grace = null
      if (this.behind) this.startRepair()
    }, this.limits.gapGraceMs)
  }

  private startRepair(): void {
    if (!this.repairing) this.repair(this)
  }

  /**
   * A joining follower was given everything up to its position by reads. True once it is live; false
   * when it must read on, because what came meanwhile did not fit.
   */
  meet(following: Following): boolean {
    if (following.state !== 'joining') return true
    if (this.head !== null)
      for (const run of following.meanwhile.take()) {
        following.deliver(run)
        // The follower may have closed itself in the delivery.
        if ((following.state as string) === 'ended') return true
      }
    if (this.head !== null && following.position < this.head) return false
    following.state = 'live'
    if (this.head === null) {
      this.head = following.position
      const runs = this.early.take()
      for (const run of runs) this.offer(run)
      this.watchGap()
    }
    return true
  }

  /** What the feed needs next is gone from the stream, or was replaced: everybody loads anew. */
  lost(): void {
    const followings = [...this.followings]
    for (const following of followings) if (following.state === 'live') following.compactedPast()
    if (this.grace !== null) clearTimeout(this.grace)
    this.grace = null
    this.head = null
    this.fingerprint = null
    this.doubts = []
    this.seen = noOffset
    this.early.take()
  }

  /** Ends every follower without a word. */
  end(): void {
    for (const following of this.followings) following.state = 'ended'
    this.followings.clear()
    this.reset()
  }

  ephemeral(bytes: Uint8Array): void {
    for (const following of [...this.followings])
      if (following.state !== 'ended') following.follower.onEphemeral(bytes)
  }
}
