/**
 * The log on Redis 7 or newer, shared by any number of nodes: streams for entries, a function library
 * for what must be atomic (library.ts), shard channels for what other nodes append (feed-message.ts).
 *
 *   append   this turn's appends of all documents in one FCALL (append-queue.ts); the reply comes
 *            after the append-only file was written, and synced with appendfsync always
 *   follow   subscribe, then read what is missing, then listen (feeds.ts); a feed merges own acks, the
 *            channel and reads into one order and repairs gaps from the stream (feed.ts)
 *   load     the tail in one function, the snapshot beside it, tried again if they differ (stored.ts)
 *   compact  compare-and-set, snapshot and trim in one function: nothing to crash between
 *
 * Two connections: commands, and channels, whose backlog must not stand before replies. Each is kept
 * alive by itself (connection.ts); while one is down, the log says so and appends or follows reject.
 *
 * Where Redis is, each dial asks (sentinels.ts); both connections stand on the same master. With `replicas`, nothing
 * counts before so many replicas have it (replicated.ts).
 *
 * Rejected: XREAD over all open streams (each wake costs all streams); one channel per node (wakes
 * every node for every document); the client's own reconnecting and offline queue.
 */
import { randomBytes } from 'node:crypto'
import type { DocumentId } from '../../../core/document-id.ts'
import { noOffset, type Offset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Logger } from '../../logger.ts'
import type {
  Appended,
  Change,
  Durability,
  Follower,
  Lease,
  Loaded,
  Log,
  NewEntry,
  Snapshot,
  Subscription,
} from '../log.ts'
import { meansSentinels, parseSentinelAddress, sentinelForm } from './address.ts'
import { type AppendLimits, AppendQueue, appendLimits } from './append-queue.ts'
import { Channels } from './channels.ts'
import {
  type Client,
  Connection,
  type ConnectionLimits,
  connectionLimits,
  fixed,
  type Whereabouts,
} from './connection.ts'
import { listDocuments, readChanges } from './documents.ts'
import { firstWord, toTidemarkError, unavailable } from './failure.ts'
import { feedLimits } from './feed.ts'
import { Feeds, type FeedsLimits } from './feeds.ts'
import { leaseKey, logKey } from './keys.ts'
import { functionNames } from './library.ts'
import { type ReplicaLimits, Replicated, replicaLimits } from './replicated.ts'
import { type SentinelLimits, Sentinels, sentinelLimits } from './sentinels.ts'
import { clusterUnsupported, readServerFacts, UnsupportedServer } from './server-facts.ts'
import { loadLibrary, Stored, type StoredLimits, storedLimits } from './stored.ts'

export interface RedisLogLimits
  extends ConnectionLimits,
    AppendLimits,
    FeedsLimits,
    StoredLimits,
    SentinelLimits,
    ReplicaLimits {
  /** `start` gives up on a server that cannot be reached for so long. */
  readonly startMsMax: number
  /** `close` waits so long for appends under way. */
  readonly closeMsMax: number
  /** Replicas remembered per document; those that pushed longest ago go first, at compaction. */
  readonly replicasMax: number
}

export const redisLogLimits: RedisLogLimits = {
  ...connectionLimits,
  ...appendLimits,
  ...feedLimits,
  ...storedLimits,
  ...sentinelLimits,
  ...replicaLimits,
  startMsMax: 10_000,
  closeMsMax: 5_000,
  headCheckIntervalMs: 5_000,
  headCheckDocumentsMax: 500,
  headCheckRounds: 12,
  replicasMax: 10_000,
}

export type RedisLogStep = 'append:send' | 'append:reply' | 'compact:send' | 'compact:reply'

export interface RedisLogOptions {
  /** One server, or Sentinels, as address.ts says. */
  readonly url: string
  /** Replicas of Redis that must have an entry before it is acked, delivered or loaded. Absent: 0. */
  readonly replicas?: number
  readonly logger: Logger
  readonly limits?: Partial<RedisLogLimits>
  /** For fault tests: called at each step; what it throws fails the operation there. */
  readonly onStep?: (step: RedisLogStep) => void
}

export function createRedisLog(options: RedisLogOptions): Log {
  return new RedisLog(options)
}

class RedisLog implements Log {
  private readonly url: string
  private readonly logger: Logger
  private readonly limits: RedisLogLimits
  private readonly step: (step: RedisLogStep) => void
  private readonly node = Buffer.from(randomBytes(6).toString('base64url'))
  private readonly sentinels: Sentinels | null
  private readonly commands: Connection
  private readonly replicated: Replicated
  private readonly channels: Channels
  private readonly queue: AppendQueue
  private readonly stored: Stored
  private readonly feeds: Feeds
  private readonly startWaiters = new Set<(error: unknown) => void>()
  private refusal: string | null = null
  private history: string | null = null
  private closed: Promise<void> | null = null
  durability: Durability = 'memory'

  constructor(options: RedisLogOptions) {
    const { url, logger } = options
    this.url = url
    this.logger = logger
    this.limits = { ...redisLogLimits, ...options.limits }
    this.step = options.onStep ?? (() => {})
    const settle = (error: unknown) => {
      for (const waiter of [...this.startWaiters]) waiter(error)
    }
    const onUp = () => {
      settle(null)
      this.feeds.check()
    }
    this.sentinels = this.sentinelsOf(url)
    const whereabouts: Whereabouts = this.sentinels ?? fixed(url)
    this.commands = new Connection({
      whereabouts,
      name: 'tidemark-commands',
      logger,
      limits: this.limits,
      setUp: (client) => this.setUp(client),
      onUp,
      onDown: (why) => {
        this.queue.rejectQueued(unavailable(why))
        this.feeds.doubt()
      },
      onFailed: settle,
      onAlive: () => {
        this.feeds.settleDoubts()
        this.probeRefusal()
      },
    })
    this.replicated = new Replicated(this.commands, options.replicas ?? 0, this.limits, () =>
      this.feeds.missed(),
    )
    this.channels = new Channels({
      whereabouts,
      logger,
      limits: this.limits,
      onMessage: (channel, message) =>
        this.replicated.pass(message, () => this.feeds.onMessage(channel, message)),
      onUp,
      onDown: () => this.feeds.doubt(),
      onFailed: settle,
    })
    this.queue = new AppendQueue({
      node: this.node,
      limits: this.limits,
      down: () => this.commands.why,
      call: (keys, args) => this.stored.call('append', keys, args),
      sentinel: () => this.channels.sentinel,
      listens: (document) => this.feeds.listens(document),
      keyOf: (document) => this.feeds.keyOf(document),
      appended: (document, entries, acks) => this.feeds.offerOwn(document, entries, acks),
      outcome: (error) => this.noteOutcome(error),
      step: this.step,
    })
    this.stored = new Stored(this.replicated, this.limits)
    this.feeds = new Feeds({
      node: this.node,
      logger,
      limits: this.limits,
      channels: this.channels,
      stored: this.stored,
      batchesSettled: () => this.queue.batchesSettled(),
    })
  }

  // --- life ------------------------------------------------------------------------------------

  async start(): Promise<void> {
    if (this.url.startsWith('redis+cluster:')) throw unavailable(clusterUnsupported)
    if (meansSentinels(this.url) && this.sentinels === null)
      throw unavailable(`A URL of Sentinels is of the form ${sentinelForm}`)
    this.sentinels?.start()
    this.commands.start()
    this.channels.connection.start()
    try {
      await this.bothUp()
    } catch (error) {
      await this.close()
      throw error
    }
    this.feeds.start()
    this.logger.info({ durability: this.durability }, 'log on Redis is open')
  }

  private async bothUp(): Promise<void> {
    const giveUpAt = performance.now() + this.limits.startMsMax
    while (this.commands.why !== null || this.channels.connection.why !== null) {
      const timeout = giveUpAt - performance.now()
      const error = await new Promise<unknown>((resolve) => {
        const done = (outcome: unknown) => {
          clearTimeout(timer)
          this.startWaiters.delete(done)
          resolve(outcome)
        }
        const timer = setTimeout(done, Math.max(0, timeout), null)
        this.startWaiters.add(done)
      })
      if (error instanceof UnsupportedServer) throw unavailable(error.message)
      if (this.commands.why === null && this.channels.connection.why === null) return
      if (performance.now() >= giveUpAt)
        throw unavailable(this.commands.why ?? this.channels.connection.why ?? 'Redis did not answer in time')
    }
  }

  close(): Promise<void> {
    this.closed ??= this.end()
    return this.closed
  }

  private async end(): Promise<void> {
    this.feeds.end()
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.limits.closeMsMax)
    })
    await Promise.race([this.queue.settled(), patience])
    clearTimeout(timer)
    this.queue.rejectQueued(new TidemarkError('shutting_down', 'The log is closed'))
    await Promise.all([this.sentinels?.close(), this.commands.close(), this.channels.connection.close()])
  }

  private sentinelsOf(url: string): Sentinels | null {
    const address = parseSentinelAddress(url)
    if (address === null) return null
    const onMoved = () => {
      this.commands.reconsider()
      this.channels.connection.reconsider()
    }
    return new Sentinels({ address, logger: this.logger, limits: this.limits, onMoved })
  }

  unavailable(): string | null {
    if (this.closed !== null) return 'The log is closed'
    return this.commands.why ?? this.channels.connection.why ?? this.refusal
  }

  private async setUp(client: Client): Promise<void> {
    const facts = await readServerFacts(client, this.logger)
    await loadLibrary(client)
    this.durability = facts.durability
    if (this.history !== null && this.history !== facts.history) this.feeds.expectOtherHistory()
    this.history = facts.history
    // A server that refuses writes but answers reads is of use; `unavailable` says so.
    this.refusal = await this.tryToWrite(client).then(
      () => null,
      (error: unknown) => toTidemarkError(error).message,
    )
  }

  private async tryToWrite(client: Client): Promise<void> {
    await client.sendCommand(this.probe())
    await this.replicated.confirmOn((args) => client.sendCommand(args))
  }

  private probe(): (string | Buffer)[] {
    return ['FCALL', functionNames.append, '0', this.node, '', '']
  }

  private noteOutcome(error: unknown): void {
    if (error === null) {
      this.refusal = null
      return
    }
    this.refusal = toTidemarkError(error).message
    // Behind the same name there may be another master by now: dial again.
    if (firstWord(error) !== 'READONLY') return
    this.commands.drop(this.refusal)
    this.channels.connection.drop(this.refusal)
  }

  /** Redis refused the last append: ask again with each ping, without waiting for somebody's edit. */
  private probeRefusal(): void {
    if (this.refusal === null) return
    this.replicated.command(this.probe()).then(
      () => {
        this.noteOutcome(null)
        // What was appended all the same, and not taken in for want of replicas, is looked for now.
        this.feeds.check()
      },
      (error: unknown) => this.noteOutcome(error),
    )
  }

  // --- the verbs and the lease -----------------------------------------------------------------

  async append(document: DocumentId, entries: readonly NewEntry[]): Promise<readonly Appended[]> {
    if (this.closed !== null) throw new TidemarkError('shutting_down', 'The log is closed')
    if (entries.length === 0) return []
    return this.queue.append(document, entries)
  }

  publish(document: DocumentId, bytes: Uint8Array): void {
    if (this.closed === null) this.queue.publish(document, bytes)
  }

  load(document: DocumentId, after = noOffset): Promise<Loaded> {
    return this.guarded(() => this.stored.load(document, after))
  }

  compact(document: DocumentId, snapshot: Snapshot, expected: Offset): Promise<boolean> {
    return this.guarded(async () => {
      const { offset, bytes, index, metadata } = snapshot
      const parts = [bytes, index, metadata].map(asBuffer)
      this.step('compact:send')
      const done = await this.stored.call(
        'compact',
        [logKey(document)],
        [String(expected), String(offset), ...parts, String(this.limits.replicasMax)],
      )
      this.step('compact:reply')
      return done === 1
    })
  }

  list(prefix: string, after: string, countMax: number): Promise<readonly DocumentId[]> {
    return this.guarded(() => listDocuments(this.replicated, prefix, after, countMax))
  }

  changes(after: number, countMax: number): Promise<readonly Change[]> {
    return this.guarded(() => readChanges(this.stored, after, countMax))
  }

  lease(document: DocumentId, leaseMs: number): Promise<Lease | null> {
    return this.guarded(async () => {
      const token = randomBytes(16).toString('hex')
      const key = leaseKey(document)
      const taken = await this.replicated.command(['SET', key, token, 'NX', 'PX', String(leaseMs)])
      if (taken === null) return null
      return {
        release: () =>
          this.guarded(async () => {
            await this.stored.call('release', [key], [token])
          }),
      }
    })
  }

  follow(document: DocumentId, after: Offset, follower: Follower): Promise<Subscription> {
    return this.guarded(() => this.feeds.follow(document, after, follower))
  }

  private async guarded<T>(work: () => Promise<T>): Promise<T> {
    if (this.closed !== null) throw new TidemarkError('shutting_down', 'The log is closed')
    try {
      return await work()
    } catch (error) {
      throw toTidemarkError(error)
    }
  }
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
