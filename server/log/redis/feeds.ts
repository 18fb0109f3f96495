/**
 * All followed documents of this node: their subscriptions, and the reads that keep each feed whole.
 *
 * Redis may come back with less than it acked (power loss with appendfsync everysec, a failover). So
 * after every reconnect each followed document's head and last delivered entry are compared with the
 * stored ones (head-checks.ts); where they differ, followers are told to load anew rather than to trust offsets
 * that now mean something else. The regular checks bound how long a message that was lost without any
 * sign can hold a follower back.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Offset } from '../../../core/offset.ts'
import type { Logger } from '../../logger.ts'
import { placed } from '../entry-codec.ts'
import type { Appended, Entry, Follower, NewEntry, Subscription } from '../log.ts'
import type { Channels } from './channels.ts'
import { toTidemarkError } from './failure.ts'
import { Feed, type FeedLimits } from './feed.ts'
import { decodeFeedMessage } from './feed-message.ts'
import { type HeadCheckLimits, HeadChecks } from './head-checks.ts'
import { feedChannel, logKey } from './keys.ts'
import type { Stored } from './stored.ts'

export interface FeedsLimits extends FeedLimits, HeadCheckLimits {}

interface Followed {
  readonly document: DocumentId
  readonly channel: string
  readonly key: string
  readonly feed: Feed
}

export interface FeedsOptions {
  readonly node: Buffer
  readonly logger: Logger
  readonly limits: FeedsLimits
  readonly channels: Channels
  readonly stored: Stored
  /** Resolves when the appends now under way have ended. */
  batchesSettled(): Promise<void>
}

export class Feeds {
  private readonly options: FeedsOptions
  private readonly byDocument = new Map<DocumentId, Followed>()
  private readonly byChannel = new Map<string, Followed>()
  private readonly checks: HeadChecks
  private ended = false

  constructor(options: FeedsOptions) {
    this.options = options
    this.checks = new HeadChecks({ ...options, followed: this.byDocument })
  }

  start(): void {
    this.checks.start()
  }

  /** Silences every follower at once. */
  end(): void {
    this.ended = true
    this.checks.end()
    for (const { feed } of this.byDocument.values()) feed.end()
    this.byDocument.clear()
    this.byChannel.clear()
  }

  /** Whether Redis has confirmed this node's own subscription to the document's channel. */
  listens(document: DocumentId): boolean {
    const followed = this.byDocument.get(document)
    return followed !== undefined && this.options.channels.has(followed.channel)
  }

  /** The name of the document's log, made once for those that are followed. */
  keyOf(document: DocumentId): string {
    return this.byDocument.get(document)?.key ?? logKey(document)
  }

  async follow(document: DocumentId, after: Offset, follower: Follower): Promise<Subscription> {
    const { channels, stored } = this.options
    const followed = this.followedOf(document)
    const { channel, feed } = followed
    const following = feed.add(follower, after)
    const close = () => {
      if (!feed.includes(following)) return
      feed.remove(following)
      if (feed.size === 0) this.retire(followed)
    }
    try {
      await channels.subscribe(channel)
      while (following.state === 'joining') {
        const page = await stored.read(document, following.position)
        if (page === null) {
          following.compactedPast()
          break
        }
        following.deliver(page.entries)
        if (following.position >= page.head) feed.meet(following)
      }
    } catch (error) {
      close()
      throw error
    }
    return { close }
  }

  offerOwn(document: DocumentId, entries: readonly NewEntry[], acks: readonly Appended[]): void {
    const feed = this.byDocument.get(document)?.feed
    if (feed === undefined) return
    const fresh: Entry[] = []
    for (let i = 0; i < acks.length; i++)
      if (!acks[i]!.duplicate) fresh.push(placed(entries[i]!, acks[i]!.offset))
    feed.offer(fresh)
  }

  onMessage(channel: string, message: Buffer): void {
    const followed = this.byChannel.get(channel)
    if (followed === undefined) return
    const { node, logger } = this.options
    try {
      const decoded = decodeFeedMessage(message, node)
      if (decoded.kind === 'entries') followed.feed.offer(decoded.entries)
      else if (decoded.kind === 'ephemeral') followed.feed.ephemeral(decoded.bytes)
    } catch (error) {
      logger.error({ document: followed.document, err: error }, 'unreadable message on a channel')
    }
  }

  /** A connection ended; whatever is delivered until all has been compared may not follow what was before. */
  doubt(): void {
    for (const { feed } of this.byDocument.values()) feed.doubt()
    this.checks.doubt()
  }

  /** A message was not taken in: what it told is looked for with each ping, until that succeeds. */
  missed(): void {
    this.checks.doubt()
  }

  /** Redis was started anew, or is another one. */
  expectOtherHistory(): void {
    this.checks.expectOtherHistory()
  }

  /** With each ping, until it has succeeded. */
  settleDoubts(): void {
    if (this.checks.doubtful) this.checks.all()
  }

  /** Compares what was delivered with what is stored. */
  check(): void {
    this.checks.all()
  }

  private followedOf(document: DocumentId): Followed {
    const found = this.byDocument.get(document)
    if (found !== undefined) return found
    const feed: Feed = new Feed(this.options.limits, () => void this.repair(document, feed))
    const followed = { document, channel: feedChannel(document), key: logKey(document), feed }
    this.byDocument.set(document, followed)
    this.byChannel.set(followed.channel, followed)
    return followed
  }

  private retire(followed: Followed): void {
    const { document, channel } = followed
    if (this.ended || this.byDocument.get(document) !== followed) return
    const { channels, batchesSettled } = this.options
    this.byDocument.delete(document)
    this.byChannel.delete(channel)
    // A batch under way may say "my own subscription is the only one": let it end first.
    channels.renounce(channel)
    void batchesSettled().then(() => {
      if (!this.ended && !this.byDocument.has(document)) channels.unsubscribe(channel)
    })
  }

  /** Reads on from the feed's head until it is no longer behind. Does not reject. */
  private async repair(document: DocumentId, feed: Feed): Promise<void> {
    const { logger, stored } = this.options
    feed.repairing = true
    try {
      while (!this.ended && feed.behind) {
        const head = feed.head!
        const page = await stored.read(document, head)
        if (page !== null && page.entries.length > 0) feed.offer(page.entries)
        // Unless others filled the gap since the read was sent.
        else if (feed.head === head && feed.behind) feed.lost()
      }
    } catch (error) {
      // An absent Redis is checked against after the reconnect, or by the next regular check.
      if (toTidemarkError(error).code !== 'document_unreadable') return
      logger.error({ document, err: error }, 'a followed document cannot be read')
      feed.lost()
    } finally {
      feed.repairing = false
    }
  }
}
