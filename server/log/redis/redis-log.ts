/**
 * The log on Redis 7 or newer, shared by any number of nodes: streams for entries, a function library
 * for what must be atomic (library.ts), shard channels for what other nodes append (feed-message.ts).
 *
 *   append   this turn's appends of all documents in one FCALL (append-queue.ts); the reply comes
 *            after the append-only file was written, synced too with appendfsync always
 *   follow   subscribe, then read what is missing, then listen; a feed merges own acks, the channel
 *            and reads into one order and repairs gaps from the stream (feed.ts)
 *   load     snapshot and tail as of one moment, read inside Redis
 *   compact  compare-and-set, snapshot and trim in one function: nothing to crash between
 *
 * Redis may come back with less than it acked (power loss with appendfsync everysec, a failover). So
 * after every reconnect each followed document's head and last delivered entry are compared with the
 * stored ones; where they differ, followers are told to load anew rather than to trust offsets that now
 * mean something else. A slower check of all heads bounds how long a message lost without any sign
 * can hold a follower back.
 *
 * Rejected: XREAD over all open streams (each wake costs all streams); a subscription per node
 * (wakes every node for every document); the client's own reconnecting and offline queue.
 */
import { randomBytes } from 'node:crypto'
import type { DocumentId } from '../../../core/document-id.ts'
import { noOffset, type Offset, toOffset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Logger } from '../../logger.ts'
import { decodeEntry } from '../entry-codec.ts'
import type {
  Appended,
  Durability,
  Entry,
  Follower,
  Lease,
  Loaded,
  Log,
  NewEntry,
  Snapshot,
  Subscription,
} from '../log.ts'
import { type AppendLimits, AppendQueue, appendLimits } from './append-queue.ts'
import { Channels } from './channels.ts'
import { type Client, Connection, type ConnectionLimits, connectionLimits } from './connection.ts'
import { firstWord, isUnknownFunction, toTidemarkError, unavailable } from './failure.ts'
import { Feed, type FeedLimits, feedLimits, fingerprintOf } from './feed.ts'
import { decodeFeedMessage } from './feed-message.ts'
import { feedChannel, leaseKey, logKey } from './keys.ts'
import { type FunctionName, functionNames, libraryCode, libraryName } from './library.ts'
import { readServerFacts, UnsupportedServer } from './server-facts.ts'

export interface RedisLogLimits extends ConnectionLimits, AppendLimits, FeedLimits {
  /** `start` gives up on a server that cannot be reached for so long. */
  readonly startMsMax: number
  /** `close` waits so long for appends under way. */
  readonly closeMsMax: number
  /** How often the heads of all followed documents are compared with the stored ones. */
  readonly headCheckIntervalMs: number
  readonly headCheckDocumentsMax: number
  /** Bytes of entries after which one read of a stream ends; the next one goes on from there. */
  readonly readBytesMax: number
  /** Loads begun anew because a compaction came between their reads. */
  readonly loadAttemptsMax: number
  /** Replicas remembered per document; those that pushed longest ago go first, at compaction. */
  readonly replicasMax: number
}

export const redisLogLimits: RedisLogLimits = {
  ...connectionLimits,
  ...appendLimits,
  ...feedLimits,
  startMsMax: 10_000,
  closeMsMax: 5_000,
  headCheckIntervalMs: 5_000,
  headCheckDocumentsMax: 500,
  readBytesMax: 8 * 1024 * 1024,
  loadAttemptsMax: 5,
  replicasMax: 10_000,
}

export type RedisLogStep = 'append:send' | 'append:reply' | 'compact:send' | 'compact:reply'

export interface RedisLogOptions {
  /** `redis://` or `rediss://` with user, password and database as usual. */
  readonly url: string
  readonly logger: Logger
  readonly limits?: Partial<RedisLogLimits>
  /** For fault tests: called at each step; what it throws fails the operation there. */
  readonly onStep?: (step: RedisLogStep) => void
}

export function createRedisLog(options: RedisLogOptions): Log {
  return new RedisLog(options)
}

interface Page {
  readonly entries: readonly Entry[]
  readonly head: Offset
  readonly snapshot: Snapshot | null
}

class RedisLog implements Log {
  private readonly logger: Logger
  private readonly limits: RedisLogLimits
  private readonly step: (step: RedisLogStep) => void
  private readonly node = Buffer.from(randomBytes(6).toString('base64url'))
  private readonly commands: Connection
  private readonly channels: Channels
  private readonly queue: AppendQueue
  private readonly feeds = new Map<string, { readonly document: DocumentId; readonly feed: Feed }>()
  private readonly startWaiters = new Set<(error: unknown) => void>()
  private loadingLibrary: Promise<void> | null = null
  private headCheck: NodeJS.Timeout | null = null
  private refusal: string | null = null
  private closed: Promise<void> | null = null
  durability: Durability = 'memory'

  constructor(options: RedisLogOptions) {
    const { url, logger } = options
    this.logger = logger
    this.limits = { ...redisLogLimits, ...options.limits }
    this.step = options.onStep ?? (() => {})
    const settle = (error: unknown) => {
      for (const waiter of [...this.startWaiters]) waiter(error)
    }
    const onUp = () => {
      settle(null)
      this.checkHeads(true)
    }
    this.commands = new Connection({
      url,
      name: 'tidemark-commands',
      logger,
      limits: this.limits,
      setUp: (client) => this.setUp(client),
      onUp,
      onDown: (why) => this.queue.rejectQueued(unavailable(why)),
      onFailed: settle,
      onAlive: () => this.probeRefusal(),
    })
    this.channels = new Channels({
      url,
      logger,
      limits: this.limits,
      onMessage: (channel, message) => this.onMessage(channel, message),
      onUp,
      onDown: () => {},
      onFailed: settle,
    })
    this.queue = new AppendQueue({
      node: this.node,
      limits: this.limits,
      down: () => this.commands.why,
      call: (keys, args) => this.call('append', keys, args),
      sentinel: () => this.channels.sentinel,
      listens: (channel) => this.channels.has(channel),
      appended: (document, entries, acks) => this.offerOwn(document, entries, acks),
      outcome: (error) => this.noteOutcome(error),
      step: this.step,
    })
  }

  // --- life ------------------------------------------------------------------------------------

  async start(): Promise<void> {
    this.commands.start()
    this.channels.connection.start()
    try {
      await this.bothUp()
    } catch (error) {
      await this.close()
      throw error
    }
    this.headCheck = setInterval(() => this.checkHeads(false), this.limits.headCheckIntervalMs)
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
    if (this.headCheck !== null) clearInterval(this.headCheck)
    for (const { feed } of this.feeds.values()) feed.end()
    this.feeds.clear()
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.limits.closeMsMax)
    })
    await Promise.race([this.queue.settled(), patience])
    clearTimeout(timer)
    this.queue.rejectQueued(new TidemarkError('shutting_down', 'The log is closed'))
    await Promise.all([this.commands.close(), this.channels.connection.close()])
  }

  unavailable(): string | null {
    if (this.closed !== null) return 'The log is closed'
    return this.commands.why ?? this.channels.connection.why ?? this.refusal
  }

  private async setUp(client: Client): Promise<void> {
    const facts = await readServerFacts(client, this.logger)
    await loadLibrary(client)
    this.durability = facts.durability
    // A server that refuses writes but answers reads is of use; `unavailable` says so.
    this.refusal = await client.sendCommand(this.probe()).then(
      () => null,
      (error: unknown) => toTidemarkError(error).message,
    )
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
    if (firstWord(error) === 'READONLY') this.commands.drop(this.refusal)
  }

  /** Redis refused the last append: ask again with each ping, without waiting for somebody's edit. */
  private probeRefusal(): void {
    if (this.refusal === null) return
    this.commands.command(this.probe()).then(
      () => this.noteOutcome(null),
      (error: unknown) => this.noteOutcome(error),
    )
  }

  // --- functions -------------------------------------------------------------------------------

  private async call(
    name: FunctionName,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
    buffers = false,
  ): Promise<unknown> {
    const reading = name === 'read' || name === 'heads'
    const command = [
      reading ? 'FCALL_RO' : 'FCALL',
      functionNames[name],
      String(keys.length),
      ...keys,
      ...args,
    ]
    const send = () => (buffers ? this.commands.commandForBuffers(command) : this.commands.command(command))
    try {
      return await send()
    } catch (error) {
      if (!isUnknownFunction(error)) throw error
    }
    this.loadingLibrary ??= loadLibrary(this.commands.live).finally(() => {
      this.loadingLibrary = null
    })
    await this.loadingLibrary
    return send()
  }

  private async guarded<T>(work: () => Promise<T>): Promise<T> {
    if (this.closed !== null) throw new TidemarkError('shutting_down', 'The log is closed')
    try {
      return await work()
    } catch (error) {
      throw toTidemarkError(error)
    }
  }

  // --- the five verbs and the lease ------------------------------------------------------------

  async append(document: DocumentId, entries: readonly NewEntry[]): Promise<readonly Appended[]> {
    if (this.closed !== null) throw new TidemarkError('shutting_down', 'The log is closed')
    if (entries.length === 0) return []
    return this.queue.append(document, entries)
  }

  publish(document: DocumentId, bytes: Uint8Array): void {
    if (this.closed === null) this.queue.publish(document, bytes)
  }

  load(document: DocumentId): Promise<Loaded> {
    return this.guarded(async () => {
      for (let attempt = 0; attempt < this.limits.loadAttemptsMax; attempt++) {
        const loaded = await this.tryLoad(document)
        if (loaded !== null) return loaded
      }
      throw unavailable('Compactions kept coming between the reads of a load')
    })
  }

  /** Null when a compaction came between two reads. */
  private async tryLoad(document: DocumentId): Promise<Loaded | null> {
    const page = await this.read(document, noOffset, true)
    if (page === null)
      throw new TidemarkError('document_unreadable', 'The stored document lacks entries after its snapshot')
    const { snapshot } = page
    const tail = [...page.entries]
    const reached = () => tail.at(-1)?.offset ?? snapshot?.offset ?? noOffset
    while (reached() < page.head) {
      const next = await this.read(document, reached(), false)
      if (next === null) return null
      tail.push(...next.entries)
    }
    return { snapshot, tail, offset: reached() }
  }

  /** The entries after `after`, as many as one read gives; null when the next one is not there. */
  private async read(document: DocumentId, after: Offset, withState: boolean): Promise<Page | null> {
    const args = [String(after), String(this.limits.readBytesMax), withState ? 'state' : '']
    const reply = (await this.call('read', [logKey(document)], args, true)) as unknown[]
    const [head, , first, found] = reply as [number, number, number, Buffer[]]
    const snapshot = withState ? snapshotOf(reply.slice(4) as (Buffer | null)[]) : null
    const start = snapshot?.offset ?? after
    if (found.length === 0 ? head !== start : first !== start + 1) return null
    return { head: toOffset(head), snapshot, entries: found.map((bytes, i) => readEntry(bytes, first + i)) }
  }

  compact(document: DocumentId, snapshot: Snapshot, expected: Offset): Promise<boolean> {
    return this.guarded(async () => {
      const { offset, bytes, index } = snapshot
      this.step('compact:send')
      const done = await this.call(
        'compact',
        [logKey(document)],
        [String(expected), String(offset), asBuffer(bytes), asBuffer(index), String(this.limits.replicasMax)],
      )
      this.step('compact:reply')
      return done === 1
    })
  }

  lease(document: DocumentId, leaseMs: number): Promise<Lease | null> {
    return this.guarded(async () => {
      const token = randomBytes(16).toString('hex')
      const key = leaseKey(document)
      const taken = await this.commands.command(['SET', key, token, 'NX', 'PX', String(leaseMs)])
      if (taken === null) return null
      return {
        release: () =>
          this.guarded(async () => {
            await this.call('release', [key], [token])
          }),
      }
    })
  }

  follow(document: DocumentId, after: Offset, follower: Follower): Promise<Subscription> {
    return this.guarded(async () => {
      const channel = feedChannel(document)
      const held = this.feeds.get(channel) ?? {
        document,
        feed: new Feed(this.limits, (feed) => void this.repair(document, feed)),
      }
      this.feeds.set(channel, held)
      const { feed } = held
      const following = feed.add(follower, after)
      const close = () => {
        if (!feed.includes(following)) return
        feed.remove(following)
        if (feed.size === 0) this.retire(channel, feed)
      }
      try {
        await this.channels.subscribe(channel)
        while (following.state === 'joining') {
          const page = await this.read(document, following.position, false)
          // The log was closed meanwhile.
          if ((following.state as string) === 'ended') break
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
    })
  }

  // --- feeds -----------------------------------------------------------------------------------

  private retire(channel: string, feed: Feed): void {
    if (this.closed !== null || this.feeds.get(channel)?.feed !== feed) return
    this.feeds.delete(channel)
    // A batch under way may say "my own subscription is the only one": let it end first.
    this.channels.renounce(channel)
    void this.queue.batchesSettled().then(() => {
      if (this.closed === null && !this.feeds.has(channel)) this.channels.unsubscribe(channel)
    })
  }

  private offerOwn(document: DocumentId, entries: readonly NewEntry[], acks: readonly Appended[]): void {
    const feed = this.feeds.get(feedChannel(document))?.feed
    if (feed === undefined) return
    const fresh: Entry[] = []
    for (const [i, ack] of acks.entries())
      if (!ack.duplicate) fresh.push({ ...entries[i]!, offset: ack.offset })
    feed.offer(fresh)
  }

  private onMessage(channel: string, message: Buffer): void {
    const held = this.feeds.get(channel)
    if (held === undefined) return
    try {
      const decoded = decodeFeedMessage(message, this.node)
      if (decoded.kind === 'entries') held.feed.offer(decoded.entries)
      else if (decoded.kind === 'ephemeral') held.feed.ephemeral(decoded.bytes)
    } catch (error) {
      this.logger.error({ document: held.document, err: error }, 'unreadable message on a channel')
    }
  }

  private async repair(document: DocumentId, feed: Feed): Promise<void> {
    feed.repairing = true
    try {
      while (this.closed === null && feed.behind) {
        const { head } = feed
        const page = await this.read(document, head!, false)
        if (feed.head === null) break
        if (page === null || page.entries.length === 0) {
          // Others may have filled the gap since the read was sent.
          if (feed.head === head && feed.behind) feed.lost()
        } else feed.offer(page.entries)
      }
    } catch (error) {
      const failure = toTidemarkError(error)
      if (failure.code === 'document_unreadable') {
        this.logger.error({ document, err: error }, 'a followed document cannot be read')
        feed.lost()
      }
      // Otherwise Redis is not there now: the check after the reconnect, or the next regular one, repairs.
    } finally {
      feed.repairing = false
    }
  }

  /** Compares what was delivered with what is stored; `entries` also by the last delivered entry. */
  private checkHeads(entries: boolean): void {
    const held = [...this.feeds.values()].filter(({ feed }) => feed.head !== null)
    for (let i = 0; i < held.length; i += this.limits.headCheckDocumentsMax) {
      this.checkSome(held.slice(i, i + this.limits.headCheckDocumentsMax), entries).catch(
        (error: unknown) => {
          this.logger.debug({ err: error }, 'could not compare heads')
        },
      )
    }
  }

  private async checkSome(
    held: readonly { readonly document: DocumentId; readonly feed: Feed }[],
    entries: boolean,
  ): Promise<void> {
    const before = held.map(({ feed }) => ({ head: feed.head, fingerprint: feed.fingerprint }))
    const keys = held.map(({ document }) => logKey(document))
    const offsets = before.map(({ head, fingerprint }) =>
      entries && fingerprint !== null ? String(head) : '0',
    )
    const reply = (await this.call('heads', keys, offsets, true)) as (number | Buffer | null)[]
    for (const [i, { document, feed }] of held.entries()) {
      const { head, fingerprint } = before[i]!
      if (feed.head === null || head === null) continue
      const storedHead = reply[2 * i] as number
      const bytes = reply[2 * i + 1] as Buffer | null
      const replaced =
        bytes !== null && fingerprint !== null && fingerprintOf(readEntry(bytes, head)) !== fingerprint
      if (storedHead < head || replaced) {
        this.logger.error(
          { document, delivered: head, stored: storedHead },
          'Redis lost acknowledged entries',
        )
        feed.lost()
      } else feed.noticeHead(toOffset(storedHead))
    }
  }
}

async function loadLibrary(client: Client): Promise<void> {
  const found = await client.sendCommand(['FUNCTION', 'LIST', 'LIBRARYNAME', libraryName])
  if (Array.isArray(found) && found.length > 0) return
  await client.sendCommand(['FUNCTION', 'LOAD', 'REPLACE', libraryCode])
}

function readEntry(bytes: Buffer, offset: number): Entry {
  try {
    // A copy: the view would keep the whole chunk that came from the socket alive.
    return decodeEntry(Uint8Array.prototype.slice.call(bytes), toOffset(offset))
  } catch (error) {
    throw new TidemarkError('document_unreadable', `Entry ${offset} is damaged`, { cause: error })
  }
}

function snapshotOf([offset, bytes, index]: readonly (Buffer | null | undefined)[]): Snapshot | null {
  if (!offset && !bytes && !index) return null
  const number = Number(offset?.toString())
  if (!offset || !bytes || !index || !Number.isSafeInteger(number) || number < 1)
    throw new TidemarkError('document_unreadable', 'The stored snapshot is damaged')
  return { offset: toOffset(number), bytes, index }
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
