/** A relay put together for tests of the API: real gateway, rooms, access control and log, over real HTTP. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Y from 'yjs'
import type { DocumentId } from '../../../../core/document-id.ts'
import type { FactRules } from '../../../../core/domain/facts/door.ts'
import { engines } from '../../../../core/engine/engines.ts'
import { noOffset } from '../../../../core/offset.ts'
import { TidemarkError } from '../../../../core/protocol/errors.ts'
import { createGatekeeper } from '../../../../server/access/gatekeeper.ts'
import { createRevocations } from '../../../../server/access/revocations.ts'
import { readConfig } from '../../../../server/config.ts'
import { Gateway } from '../../../../server/gateway/gateway.ts'
import { type ApiParts, apiRoutes } from '../../../../server/gateway/http/api.ts'
import { fold, metadataOf, nothing } from '../../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../../server/log/log.ts'
import type { Logger } from '../../../../server/logger.ts'
import { Metrics } from '../../../../server/metrics.ts'
import { ImageBudget } from '../../../../server/room/image.ts'
import { Rooms } from '../../../../server/room/rooms.ts'
import { Tick } from '../../../../server/room/tick.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { type TokenOptions, token, tokenSecret } from '../../../support/tokens.ts'

export interface ApiUnderTest {
  readonly url: string
  readonly webSocketUrl: string
  readonly log: Log
  /** Documents whose compaction was asked for. */
  readonly compactions: readonly DocumentId[]
  /** As the compactor does it. */
  compact(document: string): Promise<void>
  close(): Promise<void>
}

export interface ApiUnderTestOptions {
  readonly log?: Log
  readonly environment?: Record<string, string>
  readonly limits?: Partial<ApiParts['limits']>
  readonly logger?: Logger
  readonly json?: ApiParts['json']
  readonly live?: ApiParts['live']
  /** Of all documents. Absent: none holds facts. */
  readonly factRules?: FactRules
}

export async function startApi(options: ApiUnderTestOptions = {}): Promise<ApiUnderTest> {
  const logger = options.logger ?? silentLogger
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-http-'))
  const log = options.log ?? createEmbeddedLog({ directory: folder, logger })
  const config = readConfig({ PORT: '0', JWT_SECRET: tokenSecret, ...options.environment })
  const metrics = new Metrics()
  const compactions: DocumentId[] = []
  const revocations = createRevocations({ log, logger, days: 1 })
  const gatekeeper = createGatekeeper(config, { logger, revocations })
  const rooms = new Rooms(
    {
      log,
      tick: new Tick(),
      images: new ImageBudget(config.IMAGE_BYTES_MAX),
      limits: {
        updateBytesMax: config.UPDATE_BYTES_MAX,
        documentBytesMax: config.DOCUMENT_BYTES_MAX,
        awarenessBytesMax: config.AWARENESS_BYTES_MAX,
        awarenessClientsMax: 1_000,
        sessionAwarenessClientsMax: config.AWARENESS_CLIENTS_MAX,
        awarenessFrameMs: 50,
      },
      logger,
      metrics,
      factRulesOf: () => options.factRules ?? null,
      onTail: () => undefined,
    },
    { lingerMs: 10_000, imageIdleMs: 10_000, roomsMax: 20_000, onIdle: () => undefined },
  )
  const gateway = new Gateway({
    host: config.HOST,
    port: config.PORT,
    frameBytesMax: config.UPDATE_BYTES_MAX + 64,
    admission: {
      sessionsMax: 1_000,
      sessionsPerAddressMax: 1_000,
      sessionsPerUserMax: 1_000,
      handshakesMax: 1_000,
      loopLagMsMax: 60_000,
    },
    documentsPerSocketMax: 10,
    updateBytesMax: config.UPDATE_BYTES_MAX,
    automergePrefix: '',
    durability: () => log.durability,
    firstMessageMsMax: 60_000,
    trustedProxies: [],
    gatekeeper,
    revocations,
    rooms,
    limits: {
      sessionMessagesPerSecondMax: 10_000,
      sessionBytesPerSecondMax: 100_000_000,
      sessionBufferBytesMax: config.SESSION_BUFFER_BYTES_MAX,
      sessionUnackedBytesMax: config.SESSION_UNACKED_BYTES_MAX,
    },
    logger,
    metrics,
    unready: () => log.unavailable(),
    routes: apiRoutes({
      rooms,
      log,
      gatekeeper,
      revocations,
      logger,
      metrics,
      json:
        options.json ??
        (async (engine, updates) =>
          new TextEncoder().encode(JSON.stringify(engines[engine].toJson(updates)))),
      compactSoon: (document) => compactions.push(document),
      query: {
        ask: async () => {
          throw new TidemarkError('views_unavailable', 'There are none here')
        },
      },
      views: async () => {
        throw new TidemarkError('views_unavailable', 'There are none here')
      },
      live: options.live ?? {
        open() {
          throw new TidemarkError('views_unavailable', 'There are none here')
        },
      },
      limits: { updateBytesMax: config.UPDATE_BYTES_MAX, ...options.limits },
    }),
  })
  await log.start()
  await revocations.start()
  await gatekeeper.start()
  const url = await gateway.start()
  return {
    url,
    webSocketUrl: url.replace('http', 'ws'),
    log,
    compactions,
    async compact(id) {
      const document = id as DocumentId
      const loaded = await log.load(document)
      const content = fold(loaded)
      const updates = content.entries.map((entry) => entry.update)
      if (content.snapshot !== null) updates.unshift(content.snapshot.bytes)
      const snapshot = {
        ...(content.engine === null ? nothing : engines[content.engine].compact(updates)),
        offset: loaded.offset,
        metadata: metadataOf(content, loaded),
      }
      if (!(await log.compact(document, snapshot, loaded.snapshot?.offset ?? noOffset)))
        throw new Error('somebody else compacted it')
      rooms.compacted(document, { snapshotBytes: 0, droppedCount: Infinity, droppedBytes: Infinity })
    },
    async close() {
      await gateway.close(1_000)
      rooms.close()
      await gatekeeper.close()
      await revocations.close()
      await log.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array
  // biome-ignore lint/suspicious/noExplicitAny: what tests look into is whatever the server sent
  readonly body: any
}

export type Method = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE' | 'PATCH' | 'OPTIONS'

export interface Call {
  readonly token?: string | null
  readonly headers?: Record<string, string>
  readonly body?: Uint8Array | object
}

export async function call(url: string, method: Method, path: string, options: Call = {}): Promise<Answer> {
  const headers: Record<string, string> = { ...options.headers }
  if (options.token) headers['authorization'] = `Bearer ${options.token}`
  const { body } = options
  if (body instanceof Uint8Array) headers['content-type'] ??= 'application/octet-stream'
  else if (body !== undefined) headers['content-type'] ??= 'application/json'
  const response = await fetch(`${url}${path}`, {
    method,
    headers,
    ...(body !== undefined && {
      body: body instanceof Uint8Array ? body.slice().buffer : JSON.stringify(body),
    }),
  })
  const bytes = new Uint8Array(await response.arrayBuffer())
  const isJson = response.headers.get('content-type')?.includes('json') === true && bytes.length > 0
  return {
    status: response.status,
    headers: response.headers,
    bytes,
    body: isJson ? JSON.parse(Buffer.from(bytes).toString()) : null,
  }
}

export const pathOf = (document: string, rest = ''): string =>
  `/v1/documents/${encodeURIComponent(document)}${rest}`

export const adminToken = (options: TokenOptions = {}): Promise<string> =>
  token({ subject: 'root', documents: [{ match: '**', access: 'admin' }], ...options })

/** An update that appends `text`, and the document that made it. */
export function textUpdate(text: string, doc = new Y.Doc()): Uint8Array {
  const version = Y.encodeStateVector(doc)
  doc.getText('t').insert(doc.getText('t').length, text)
  return Y.encodeStateAsUpdate(doc, version)
}

export function docOf(...updates: Uint8Array[]): Y.Doc {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}
