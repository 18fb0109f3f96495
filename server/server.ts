/**
 * A relay node, put together: log, rooms, compactor, gateway. `start()` opens them from the log
 * outwards, `close()` ends them from the gateway inwards, so nothing is acknowledged that is not in
 * the log and nothing is taken in that could not be stored.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Gatekeeper, Revocations } from './access/access.ts'
import { createGatekeeper } from './access/gatekeeper.ts'
import { createRevocations } from './access/revocations.ts'
import { Compactor } from './compaction/compactor.ts'
import { Workers } from './compaction/workers.ts'
import type { Config } from './config.ts'
import { Gateway } from './gateway/gateway.ts'
import { apiRoutes } from './gateway/http/api.ts'
import { pageRoutes } from './gateway/http/pages.ts'
import { TieredLog } from './log/cold/tiered-log.ts'
import type { Log } from './log/log.ts'
import type { Logger } from './logger.ts'
import { Metrics } from './metrics.ts'
import { append, theServer } from './room/append.ts'
import { ImageBudget } from './room/image.ts'
import { Rooms } from './room/rooms.ts'
import { Tick } from './room/tick.ts'
import { rightsOf } from './views/query/rights.ts'
import { Views } from './views/views.ts'
import { createWebhooks, type Webhooks } from './webhooks/webhooks.ts'

const sweepMs = 1_000
const imageIdleMs = 10_000
const awarenessFrameMs = 50
const compactionTimeoutMs = 120_000
const readTimeoutMs = 30_000
/** Closing takes at most the sum of these and the log's own end; the process exits within 10 s. */
const flushMsMax = 4_000
const closeGraceMs = 2_000
/** Where the build puts it, seen from dist/server. */
const examplesFolder = fileURLToPath(new URL('../examples', import.meta.url))

export class Server {
  readonly metrics = new Metrics()
  private readonly log: Log
  private readonly revocations: Revocations
  private readonly gatekeeper: Gatekeeper
  private readonly rooms: Rooms
  private readonly compactor: Compactor
  /** Apart from the compactor's: a reader must not wait for a compaction. */
  private readonly readers: Workers
  private readonly gateway: Gateway
  /** Null when nobody is to be told of changes. */
  private readonly webhooks: Webhooks | null
  private readonly views: Views
  private sweeper: NodeJS.Timeout | null = null

  constructor(config: Config, log: Log, logger: Logger) {
    const { metrics } = this
    this.log = log
    this.revocations = createRevocations({ log, logger, days: config.REVOCATION_DAYS })
    this.gatekeeper = createGatekeeper(config, { logger, revocations: this.revocations })
    const images = new ImageBudget(config.IMAGE_BYTES_MAX, (document) =>
      this.compactor.compactForNewcomer(document),
    )
    this.compactor = new Compactor({
      log,
      limits: {
        tailBytesMax: config.COMPACTION_TAIL_BYTES_MAX,
        tailCountMax: config.COMPACTION_TAIL_COUNT_MAX,
        tailAgeMsMax: config.COMPACTION_AGE_SECONDS_MAX * 1000,
        idleTailCountMin: config.COMPACTION_IDLE_COUNT_MIN,
        intervalMs: config.COMPACTION_INTERVAL_MS,
      },
      threads: config.COMPACTION_THREADS,
      timeoutMs: compactionTimeoutMs,
      workerMemoryMb: config.COMPACTION_MEMORY_MB,
      newcomerMsMax: config.COMPACTION_NEWCOMER_MS,
      logger,
      metrics,
      onCompacted: (document, result) => this.rooms.compacted(document, result),
    })
    this.readers = new Workers({
      threads: config.READ_THREADS,
      heapMb: config.COMPACTION_MEMORY_MB,
      timeoutMs: readTimeoutMs,
    })
    if (log instanceof TieredLog)
      log.attach({
        compactNow: (document) => this.compactor.compactNow(document),
        count: (result) => metrics.coldDocument(result),
      })
    this.rooms = new Rooms(
      {
        log,
        tick: new Tick(),
        images,
        limits: {
          updateBytesMax: config.UPDATE_BYTES_MAX,
          documentBytesMax: config.DOCUMENT_BYTES_MAX,
          awarenessBytesMax: config.AWARENESS_BYTES_MAX,
          awarenessClientsMax: 1_000,
          sessionAwarenessClientsMax: config.AWARENESS_CLIENTS_MAX,
          awarenessFrameMs,
        },
        logger,
        metrics,
        factRulesOf: (document) => this.views.factRulesOf(document),
        onTail: (document, stats) => {
          this.compactor.consider(document, stats)
          this.views.wake()
        },
      },
      {
        lingerMs: config.ROOM_LINGER_MS,
        imageIdleMs,
        roomsMax: config.ROOMS_MAX,
        onIdle: (room) => this.compactor.consider(room.document, room.stats, true),
      },
    )
    const api = apiRoutes({
      rooms: this.rooms,
      log,
      gatekeeper: this.gatekeeper,
      revocations: this.revocations,
      logger,
      metrics,
      json: (engine, updates, signal) => this.readers.json(engine, updates, signal),
      compactSoon: (document) => void this.compactor.compactNow(document),
      views: (operation) => this.views.operate(operation),
      query: { ask: (ask, signal) => this.views.queries.ask(ask, signal) },
      live: {
        open: (identity, asked, has, sink) => {
          const rights = rightsOf(identity)
          const opened = this.views.live.open({ ...asked, rights }, has, sink)
          return { ...opened, become: (now) => opened.become(rightsOf(now)) }
        },
      },
      limits: { updateBytesMax: config.UPDATE_BYTES_MAX, listenersMax: config.VIEWS_LIVE_MAX },
    })
    const pages = pageRoutes(examplesFolder)
    this.gateway = new Gateway({
      host: config.HOST,
      port: config.PORT,
      // A frame is an update and its few bytes of header.
      frameBytesMax: config.UPDATE_BYTES_MAX + 64,
      documentsPerSocketMax: config.DOCUMENTS_PER_SOCKET_MAX,
      updateBytesMax: config.UPDATE_BYTES_MAX,
      automergePrefix: config.AUTOMERGE_PREFIX ?? '',
      listenersMax: config.VIEWS_LIVE_MAX,
      durability: () => log.durability,
      admission: {
        sessionsMax: config.SESSIONS_MAX,
        sessionsPerAddressMax: config.SESSIONS_PER_ADDRESS_MAX,
        sessionsPerUserMax: config.SESSIONS_PER_USER_MAX,
        handshakesMax: config.HANDSHAKES_MAX,
        loopLagMsMax: config.LOOP_LAG_MS_MAX,
      },
      firstMessageMsMax: config.FIRST_MESSAGE_MS_MAX,
      trustedProxies: config.TRUSTED_PROXIES ?? [],
      gatekeeper: this.gatekeeper,
      revocations: this.revocations,
      rooms: this.rooms,
      limits: {
        sessionMessagesPerSecondMax: config.SESSION_MESSAGES_PER_SECOND_MAX,
        sessionBytesPerSecondMax: config.SESSION_BYTES_PER_SECOND_MAX,
        sessionBufferBytesMax: config.SESSION_BUFFER_BYTES_MAX,
        sessionUnackedBytesMax: config.SESSION_UNACKED_BYTES_MAX,
      },
      logger,
      metrics,
      unready: () => log.unavailable(),
      routes: (http) => {
        api(http)
        pages(http)
      },
    })
    this.webhooks = createWebhooks(config, { log, logger, metrics })
    this.views = new Views({
      log,
      decide: async (document, update) => {
        await append(this.rooms, document, update, theServer)
      },
      settings: {
        folder: config.ADAPTERS,
        databaseUrl: config.DATABASE_URL ?? null,
        dataFolder: config.REDIS_URL === undefined ? join(config.DATA_DIR, 'views') : null,
        connectionsMax: config.DATABASE_CONNECTIONS_MAX,
        queries: {
          readerUrl: config.DATABASE_READER_URL ?? null,
          afterTimeoutMs: config.VIEWS_AFTER_TIMEOUT_MS,
          limits: {
            timeoutMs: config.VIEWS_QUERY_TIMEOUT_MS,
            rowsMax: config.VIEWS_QUERY_ROWS_MAX,
            bytesMax: config.VIEWS_QUERY_BYTES_MAX,
            runningMax: config.VIEWS_QUERIES_MAX,
            perUserMax: config.VIEWS_QUERIES_PER_USER_MAX,
          },
        },
        memoryMb: config.VIEWS_MEMORY_MB,
        port: config.VIEWS_PORT,
      },
      logger,
      metrics,
    })
    metrics.watch({
      connections: () => this.gateway.connectionCount,
      bufferedBytes: () => this.gateway.bufferedBytes,
      rooms: () => this.rooms.size,
      tailBytes: () => this.rooms.tailBytes(),
      imageBytes: () => images.bytesUsed,
    })
  }

  /** Resolves with the URL it listens on. */
  async start(): Promise<string> {
    await this.log.start()
    await this.revocations.start()
    await this.gatekeeper.start()
    await this.webhooks?.start()
    // Adapters are loaded in a thread of their own.
    await Promise.all([this.views.start(), this.gateway.prepare()])
    this.sweeper = setInterval(() => this.rooms.sweep(Date.now()), sweepMs)
    return this.gateway.start()
  }

  /** Lets what was taken in become durable, tells everyone to come back, ends. */
  async close(): Promise<void> {
    this.gateway.drain()
    const deadlineMs = Date.now() + flushMsMax
    while (this.rooms.busy && Date.now() < deadlineMs) await new Promise((done) => setTimeout(done, 5))
    await this.gateway.close(closeGraceMs)
    if (this.sweeper !== null) clearInterval(this.sweeper)
    this.rooms.close()
    await Promise.all([this.compactor.close(), this.readers.close()])
    await this.gatekeeper.close()
    await Promise.all([this.webhooks?.close(), this.views.close()])
    await this.revocations.close()
    await this.log.close()
  }
}
