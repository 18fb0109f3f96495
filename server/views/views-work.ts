/**
 * What the thread of the views does once adapters are loaded: documents and SQL, away from the relay's event loop.
 *
 *   adapters ─▶ place their tables ─▶ project ─┬─ the new versions have everything ─▶ swap ─▶ place …
 *                    ▲  (again while the        └─ somebody else swapped ────────────────────▶ place …
 *                    └── database is away)
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter } from '../../core/domain/adapter.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { Arbiter, type Decided } from '../arbiter/arbiter.ts'
import { claimants, claimsKnown } from '../arbiter/claims.ts'
import { DecisionStore } from '../arbiter/decision-store.ts'
import { sweepDecisions } from '../arbiter/sweep.ts'
import { seekUndecided } from '../arbiter/undecided.ts'
import type { WasmMemory } from '../compaction/wasm-memory.ts'
import type { Logger } from '../logger.ts'
import { LiveViews } from './live/live-views.ts'
import { isLive } from './live/messages.ts'
import { LiveDocuments } from './live-documents.ts'
import { isAnswer, RemoteLog } from './log-port.ts'
import { Opening } from './opening.ts'
import { type OperationsParts, operate } from './operations.ts'
import { Pending } from './pending.ts'
import { Projector } from './projector.ts'
import { analyse } from './query/analyse.ts'
import { isQuery, type QueryFromRelay } from './query/messages.ts'
import { QueriesInThread } from './query/queries-in-thread.ts'
import type { QueryRights } from './query/rights.ts'
import { Rebuild } from './rebuild/rebuild.ts'
import { EmbeddedSql } from './sql/embedded-sql.ts'
import { PostgresSql } from './sql/postgres-sql.ts'
import { type Sql, SqlError } from './sql/sql.ts'
import { SqlRowStore } from './sql-row-store.ts'
import { installTidemark } from './store/schema.ts'
import { TablesRefused } from './store/tables.ts'
import { Writer } from './store/writer.ts'
import { isNext, type Placed, place } from './versions.ts'
import type { FromRelay, FromViews, ThreadData, ViewsSettings } from './views-messages.ts'
import { Watched } from './watched.ts'

const leaseMs = 6_000
const figuresMs = 1_000
const retryMsMax = 10_000
/** Between two looks whether this node's adapters are the newest again. */
const asideMs = 5_000

if (parentPort === null) throw new Error('not a thread')
const port = parentPort
const threadData = workerData as ThreadData
const watched = new Watched(threadData.watched, threadData.refused, threadData.suspects)
let opening = new Opening()
const tell = (message: FromViews): void => port.postMessage(message)
const line =
  (level: 'error' | 'warn' | 'info' | 'debug') =>
  (fields: object, message: string): void =>
    tell({ kind: 'log', level, fields: plain(fields), message })
const logger: Logger = {
  error: line('error'),
  warn: line('warn'),
  info: line('info'),
  debug: line('debug'),
}
const log = new RemoteLog(port)
const closing = new AbortController()
let projector: Projector | null = null
let rebuild: Rebuild | null = null
let queries: QueriesInThread | null = null
/** Null until adapters are loaded. */
let operations: OperationsParts | null = null
/** Null until adapters are loaded. */
let live: LiveViews<QueryRights> | null = null
/** As other nodes know this thread. */
const node = randomUUID()
let placement = ''

/** Errors do not pass between threads as they are. */
function plain(fields: object): object {
  const told = Object.entries(fields).map(([key, value]) =>
    value instanceof Error
      ? [key, { type: value.name, message: value.message, stack: value.stack }]
      : [key, value],
  )
  return Object.fromEntries(told)
}

/** Until the relay says that it closes. */
export async function work(adapters: readonly Adapter[], memory: WasmMemory): Promise<void> {
  opening = new Opening({ watched, memory, end: () => process.exit(1) })
  const { settings } = threadData
  const { databaseUrl } = settings
  const sql = sqlOf(settings)
  // At once: whoever listens is told to this thread as soon as it is ready.
  live = liveOver(sql, databaseUrl)
  await sql.start()
  queries = new QueriesInThread({
    sql,
    databaseUrl,
    settings: settings.queries,
    adapters,
    logger,
    tell: (message, transfer) => port.postMessage(message, transfer),
  })
  operations = { sql, adapters, log, watched, rebuilding: () => rebuild?.figures ?? [] }
  let failures = 0
  while (!closing.signal.aborted) {
    try {
      await projectUntilMoved(sql, adapters)
      failures = 0
    } catch (error) {
      if (error instanceof TablesRefused || (error instanceof SqlError && !error.retryable))
        logger.error({ err: error }, 'views cannot be made; they are tried again')
      else if (failures++ === 0) logger.warn({ err: error }, 'views wait for the database')
      const waitMs = Math.min(retryMsMax, 200 * 2 ** failures) * (0.5 + Math.random() / 2)
      // Aborted: the end, seen by the loop.
      await sleep(waitMs, undefined, { signal: closing.signal }).catch(() => undefined)
    }
  }
  await live.close()
  await queries.close()
  await sql.close()
  port.close()
}

function liveOver(sql: Sql, databaseUrl: string | null): LiveViews<QueryRights> {
  const asked = (): QueriesInThread => {
    if (queries === null) throw new TidemarkError('views_unavailable', 'The views are starting')
    return queries
  }
  return new LiveViews({
    run: async ({ sql, params, rights }, signal) =>
      asked().run({ sql, params, rights, cursor: null }, signal),
    named: async (text) => ({
      tables: await asked().tablesOf(text),
      functions: (await analyse(text)).functions,
    }),
    subjectOf: ({ subject }) => subject,
    sql,
    databaseUrl,
    node,
    tell: (message, transfer) => port.postMessage(message, transfer),
    logger,
    heapMb: threadData.settings.memoryMb,
  })
}

function sqlOf({ databaseUrl, dataFolder, connectionsMax, port: viewsPort }: ViewsSettings): Sql {
  if (databaseUrl !== null) return new PostgresSql({ url: databaseUrl, connectionsMax, logger })
  if (dataFolder === null) throw new Error('nowhere to put the views')
  return new EmbeddedSql({ folder: dataFolder, port: viewsPort, logger })
}

/** Resolves when the tables are somewhere else, or at the end. */
async function projectUntilMoved(sql: Sql, adapters: readonly Adapter[]): Promise<void> {
  await installTidemark(sql)
  await queries?.makeRoles()
  const { placed, outdated } = await place(sql, adapters)
  await queries?.open(placed.map(({ schema }) => schema))
  if (outdated.length > 0) {
    for (const { name, version } of outdated)
      logger.warn(
        { adapter: name, version },
        'there is a newer version of this adapter; this node stands aside',
      )
    // Aborted: the end, seen by the loop.
    return sleep(asideMs, undefined, { signal: closing.signal }).catch(() => undefined)
  }
  notePlaced(placed)
  const writer = new Writer(sql, {
    onTouched: (touches, uncertain) => {
      live?.touched(touches, uncertain)
      queries?.wrote()
    },
    notifyAs: threadData.settings.databaseUrl === null ? null : node,
  })
  for (const { schema, tables } of placed) writer.know(schema, tables)
  const pending = new Pending()
  const moved = new AbortController()
  const isAlone = threadData.settings.dataFolder !== null
  const store = new SqlRowStore({ sql, writer, placed, leaseMs, isAlone })
  const decisions = new DecisionStore(sql)
  const deciding = await decidingOf(sql, placed)
  let hasClaims = false
  let decided: Decided[] = []
  const stale = new Set<DocumentId>()
  const arbiter = new Arbiter({
    store: decisions,
    append: (document, update) => log.decide(document, update),
    fenceOf: (part) => store.fenceOf(part),
    mayClaim: () => hasClaims,
    onStale: (document) => stale.add(document),
    onDecided: (batch) => decided.push(batch),
    logger,
  })
  projector = new Projector({
    log,
    onFolded: (document, adapter, folded) => {
      if (!deciding.some(({ schema }) => schema === adapter.name)) return
      if (folded === null) arbiter.forget(document)
      else arbiter.consider(document, { ...folded, claimsOf: adapter.facts?.claims ?? null })
    },
    // One whose tables are rebuilt is here twice.
    adapters: underTheirSchemas(placed),
    documents: new LiveDocuments(log, {}, opening),
    visited: visitedDocuments(),
    pending,
    watched,
    store,
    logger,
    onMoved: () => moved.abort(),
  })
  projector.start()
  const current = projector
  const figures = setInterval(() => {
    const unavailable = sql.unavailable() !== null
    const { projected, dead } = current.counts
    tell({
      kind: 'figures',
      figures: {
        projected,
        dead,
        pending: pending.size,
        unavailable,
        intents: arbiter.intents,
        rebuilding: rebuild?.figures ?? [],
      },
      decided,
    })
    decided = []
  }, figuresMs)
  const end = AbortSignal.any([closing.signal, moved.signal])
  const undecided = visitedDocuments()
  const seeking = seekUndecided(
    {
      sql,
      adapters: underTheirSchemas(deciding),
      documents: undecided,
      arbiter,
      again: stale,
      fenceOf: (part) => store.fenceOf(part),
      logger,
    },
    end,
  )
  const claimed = visitedDocuments()
  const claiming = claimsKnown(
    {
      sql,
      log,
      adapters: deciding.map(({ adapter }) => adapter),
      documents: claimed,
      fenceOf: (part) => store.fenceOf(part),
      logger,
    },
    end,
  ).then(() => {
    if (end.aborted) return
    hasClaims = true
    arbiter.resume()
  })
  const sweeping = sweepDecisions({ store: decisions, isFirst: () => store.holds(0), logger }, end)
  try {
    if (placed.some(isNext))
      rebuild = new Rebuild({
        sql,
        log,
        placed,
        documents: visitedDocuments(),
        logger,
        rows: () => current.counts.filled,
        isFirst: () => store.holds(0),
      })
    if (rebuild !== null) await rebuild.run(end)
    else if (!end.aborted) await new Promise((done) => end.addEventListener('abort', done))
  } finally {
    // A rebuild that lost the database ends without it, and what goes on until then would be awaited for ever.
    moved.abort()
    rebuild = null
    clearInterval(figures)
    await arbiter.close()
    await seeking
    await sweeping
    await claiming
    undecided.close()
    claimed.close()
    await current.close()
  }
}

const underTheirSchemas = (placed: readonly Placed[]): Adapter[] =>
  placed.map(({ adapter, schema }) => ({ ...adapter, name: schema }))

/**
 * By what intents are decided: one set of tables of each adapter. Those that are served; where these are of an older version, those
 * that are built, or intents would wait as long as that takes. Then the database must know the adapter's claims
 * already: nodes of the older version, which may have none, decide until they stand aside.
 */
async function decidingOf(sql: Sql, placed: readonly Placed[]): Promise<readonly Placed[]> {
  const served = placed.filter((one) => !isNext(one))
  const upgraded = placed.filter(
    (one) => isNext(one) && !served.some(({ adapter }) => adapter.name === one.adapter.name),
  )
  if (upgraded.length === 0) return served
  const known = new Set(await claimants(sql))
  const ready = upgraded.filter(
    ({ adapter: { name, facts } }) => facts === null || facts.claims === null || known.has(name),
  )
  return [...served, ...ready]
}

/** Tables that are served may be others than before. */
function notePlaced(placed: readonly Placed[]): void {
  const now = placed.map(({ schema, version, made }) => `${schema} ${version} ${made}`).join()
  if (now !== placement) live?.replaced()
  placement = now
}

const visitedDocuments = (): LiveDocuments => new LiveDocuments(log, { documentsMax: 1 }, opening)

function asked(message: QueryFromRelay): void {
  if (queries !== null) return queries.heard(message)
  const { id } = message
  tell({ kind: 'query-refusal', id, code: 'views_unavailable', message: 'The views are starting' })
}

/** Never rejects. */
async function operated({ id, operation }: Extract<FromRelay, { kind: 'operate' }>): Promise<void> {
  try {
    if (operations === null) throw new TidemarkError('views_unavailable', 'The views are starting')
    if (operation.verb === 'retry') watched.forgive(operation.adapter, operation.document)
    tell({ kind: 'operated', id, answered: await operate(operation, operations) })
  } catch (error) {
    const told = error instanceof TidemarkError
    if (!told || error.code === 'views_unavailable')
      logger.warn({ err: error, verb: operation.verb }, 'views could not be asked')
    const code = told ? error.code : 'internal'
    tell({ kind: 'inoperable', id, code, reason: told ? error.message : 'The views failed' })
  }
}

port.on('message', (message: FromRelay | { readonly kind: 'answer' | 'failure' }) => {
  if (isAnswer(message)) log.answered(message)
  else if (message.kind === 'wake') projector?.wake()
  else if (message.kind === 'operate') void operated(message)
  else if (isQuery(message)) asked(message)
  else if (isLive(message)) live?.heard(message)
  else closing.abort()
})
