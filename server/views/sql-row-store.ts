/**
 * One node's rows in the database: its share of the parts, and what it writes under their fences.
 *
 * - Parts are leased in the database, by its own clock, since a node that cannot reach it has nothing to hold. Each node
 *   says that it is there; each holds at most its share, gives up what is more, and takes what is free. So a new node
 *   gets its share within two claims of the others.
 * - A lease only spreads the work. What keeps a holder that was paused from writing is the fence, which rises with each holder
 *   and is checked in the transaction that writes.
 * - Each schema has cursors of its own. Those of a part that are not as far as the furthest are behind: a rebuild, or tables
 *   that are new. They are written apart until they have come to where the furthest was when the part was taken;
 *   what came later was written to all.
 */
import { randomUUID } from 'node:crypto'
import type { DocumentId } from '../../core/document-id.ts'
import { type Offset, toOffset } from '../../core/offset.ts'
import type { Progress } from './live-documents.ts'
import { partCount, partOf } from './parts.ts'
import {
  type Claimed,
  type DeadLetter,
  type Held,
  type Projected,
  type RowStore,
  StoreError,
} from './row-store.ts'
import { rowsUnexpected, type Sql, SqlError } from './sql/sql.ts'
import { madeSql } from './store/schema.ts'
import { type Cursor, RowsRefused, type Writer } from './store/writer.ts'
import { cursorNameOf, nextOf, type Placed } from './versions.ts'

export interface SqlRowStoreOptions {
  readonly sql: Sql
  readonly writer: Writer
  /** What is projected; the adapters of what is written have the names of these schemas. */
  readonly placed: readonly Pick<Placed, 'adapter' | 'schema' | 'version' | 'made'>[]
  /** Several times as long as the projector's time between claims. */
  readonly leaseMs: number
  /** The log is this node's alone: who holds parts is one that was killed. */
  readonly isAlone?: boolean
}

interface HeldPart {
  readonly fence: number
  readonly held: Held
  /** Names of cursors that are at the front, and those that are not. */
  readonly front: readonly string[]
  readonly behind: readonly string[]
  /** The front's, as it was written last. */
  cursor: number
}

const retriesMax = 1_000

export class SqlRowStore implements RowStore {
  private readonly options: SqlRowStoreOptions
  private readonly node = randomUUID()
  private readonly names: readonly string[]
  private held = new Map<number, HeldPart>()
  private prepared = false

  constructor(options: SqlRowStoreOptions) {
    this.options = options
    this.names = options.placed.map(cursorNameOf)
  }

  /** Undefined: another node's. */
  fenceOf(part: number): number | undefined {
    return this.held.get(part)?.fence
  }

  /** True for one node at most, if not always for one. */
  holds(part: number): boolean {
    return this.held.has(part)
  }

  async claim(): Promise<Claimed> {
    const { leaseMs } = this.options
    const { node } = this
    await this.prepare()
    const lease = `interval '${leaseMs} milliseconds'`
    const share = `(select ceil(${partCount}::numeric / greatest(1, count(*)))::int from tidemark.nodes where until > now())`
    const mine = 'holder = $1 and until > now()'
    const parameters = [node]
    const results = await this.batch([
      {
        text: `insert into tidemark.nodes values ($1, now() + ${lease})
          on conflict (node) do update set until = excluded.until`,
        parameters,
      },
      { text: `delete from tidemark.nodes where until < now() - interval '1 day'` },
      {
        text: `update tidemark.parts set until = now() where part in (
          select part from tidemark.parts where ${mine} order by part offset ${share})`,
        parameters,
      },
      { text: `update tidemark.parts set until = now() + ${lease} where ${mine}`, parameters },
      {
        text: `update tidemark.parts set holder = $1, fence = fence + 1, until = now() + ${lease} where part in (
          select part from tidemark.parts where until is null or until <= now() order by part
          limit greatest(0, ${share} - (select count(*) from tidemark.parts where ${mine}))
          for update skip locked)`,
        parameters,
      },
      {
        text: `select p.part, p.fence, (select json_object_agg(c.name, c.sequence) from tidemark.cursors c
            where c.part = p.part and c.part_count = ${partCount}
              and c.name in (select json_array_elements_text($2::json)))
          from tidemark.parts p where ${mine}`,
        parameters: [node, JSON.stringify(this.names)],
      },
      {
        text: `select distinct document from tidemark.dead_letters where retry_at <= now() limit ${retriesMax}`,
      },
      { text: `select schema, version, ${madeSql} from tidemark.adapters` },
    ])
    const [parts, retries, adapters] = results.slice(-3).map(({ rows }) => rows)
    this.assertInPlace(adapters ?? [])
    this.hold(parts ?? [])
    const documents = (retries ?? []).map(([document]) => document as DocumentId)
    return {
      parts: new Map([...this.held].map(([part, { held }]) => [part, held])),
      retries: documents.filter((document) => this.held.has(partOf(document))),
    }
  }

  private hold(rows: readonly (readonly (string | null)[])[]): void {
    const held = new Map<number, HeldPart>()
    for (const [part, fence, cursors] of rows) {
      const known = this.held.get(Number(part))
      held.set(Number(part), {
        ...(known ?? this.taken(JSON.parse(cursors ?? '{}') as Record<string, number>)),
        fence: Number(fence),
      })
    }
    this.held = held
  }

  private taken(cursors: Readonly<Record<string, number>>): Omit<HeldPart, 'fence'> {
    const of = (name: string): number => cursors[name] ?? 0
    const cursor = Math.max(0, ...this.names.map(of))
    const behind = this.names.filter((name) => of(name) < cursor)
    const front = this.names.filter((name) => of(name) === cursor)
    const from = Math.min(...behind.map(of))
    return {
      held: { cursor, behind: behind.length === 0 ? null : { from, until: cursor } },
      front,
      behind,
      cursor,
    }
  }

  private assertInPlace(rows: readonly (readonly (string | null)[])[]): void {
    const there = new Map(rows.map(([schema, version, made]) => [schema, { version: Number(version), made }]))
    const { placed } = this.options
    const schemas = new Set(placed.map(({ schema }) => schema))
    for (const { adapter, schema, version, made } of placed) {
      const found = there.get(schema)
      const next = there.get(nextOf(adapter.name))
      const isNewer = (there.get(adapter.name)?.version ?? 0) > version
      // One that is newer, or a rebuild that somebody began.
      const isRival = next !== undefined && !schemas.has(nextOf(adapter.name))
      if (found?.version !== version || found.made !== made || isNewer || isRival)
        throw new StoreError('moved', `Schema "${schema}" is no longer what it was`)
    }
  }

  /** The rows of all parts, held or not. */
  private async prepare(): Promise<void> {
    if (this.prepared) return
    await this.batch([
      {
        text: `insert into tidemark.parts (part, fence) select part, 0 from generate_series(0, ${partCount - 1}) part
          on conflict do nothing`,
      },
      ...(this.options.isAlone === true
        ? [{ text: 'update tidemark.parts set until = now()' }, { text: 'delete from tidemark.nodes' }]
        : []),
    ])
    this.prepared = true
  }

  async progressOf(
    documents: readonly DocumentId[],
  ): Promise<ReadonlyMap<DocumentId, ReadonlyMap<string, Progress>>> {
    const schemas = new Set(this.options.placed.map(({ schema }) => schema))
    const [result] = await this.batch([
      {
        text: `select document, adapter, epoch, "offset" from tidemark.progress
          where document in (select json_array_elements_text($1::json))`,
        parameters: [JSON.stringify(documents)],
      },
    ])
    const found = new Map<DocumentId, Map<string, Progress>>()
    for (const [document, schema, epoch, offset] of result?.rows ?? []) {
      if (schema == null || !schemas.has(schema)) continue
      const own = found.get(document as DocumentId) ?? new Map<string, Progress>()
      own.set(schema, { epoch: storedOffset(epoch), offset: storedOffset(offset) })
      found.set(document as DocumentId, own)
    }
    return found
  }

  async write(
    projected: readonly Projected[],
    dead: readonly DeadLetter[],
    cursors: ReadonlyMap<number, number>,
    behind: ReadonlyMap<number, number> = new Map(),
  ): Promise<void> {
    const { writer } = this.options
    const parts = new Set([
      ...cursors.keys(),
      ...behind.keys(),
      ...[...projected, ...dead].map(({ document }) => partOf(document)),
    ])
    const fences = new Map<number, number>()
    for (const part of parts) fences.set(part, this.heldPart(part).fence)
    const documents = projected.map(({ adapter, ...rest }) => ({ schema: adapter.name, ...rest }))
    const buried = dead.map(({ adapter, document, progress, reason }) => ({
      schema: adapter.name,
      version: adapter.version,
      document,
      progress,
      reason,
    }))
    const own = this.cursorsOf(cursors, behind)
    try {
      await writer.write({ documents, dead: buried, fences, cursors: own, partCount })
    } catch (error) {
      const failure = storeErrorOf(error)
      // All parts are taken anew, with the cursors that there are then.
      if (failure instanceof StoreError && failure.kind === 'fenced') this.held.clear()
      throw failure
    }
    this.written(cursors, behind)
  }

  private cursorsOf(cursors: ReadonlyMap<number, number>, behind: ReadonlyMap<number, number>): Cursor[] {
    const all: Cursor[] = []
    for (const [part, sequence] of cursors)
      for (const name of this.heldPart(part).front) all.push({ name, part, sequence })
    for (const [part, reached] of behind) {
      const held = this.heldPart(part)
      const isThere = held.held.behind !== null && reached >= held.held.behind.until
      const sequence = isThere ? (cursors.get(part) ?? held.cursor) : reached
      for (const name of held.behind) all.push({ name, part, sequence })
    }
    return all
  }

  private written(cursors: ReadonlyMap<number, number>, behind: ReadonlyMap<number, number>): void {
    for (const [part, sequence] of cursors) {
      const held = this.held.get(part)
      if (held !== undefined) held.cursor = sequence
    }
    for (const [part, reached] of behind) {
      const held = this.held.get(part)
      if (held?.held.behind == null || reached < held.held.behind.until) continue
      const front = [...held.front, ...held.behind]
      this.held.set(part, { ...held, held: { ...held.held, behind: null }, front, behind: [] })
    }
  }

  async release(): Promise<void> {
    this.held.clear()
    await this.batch([
      { text: 'update tidemark.parts set until = now() where holder = $1', parameters: [this.node] },
      { text: 'delete from tidemark.nodes where node = $1', parameters: [this.node] },
    ])
  }

  private heldPart(part: number): HeldPart {
    const held = this.held.get(part)
    if (held === undefined) throw new StoreError('fenced', `Part ${part} is not held`)
    return held
  }

  private async batch(statements: Parameters<Sql['batch']>[0]): ReturnType<Sql['batch']> {
    try {
      return await this.options.sql.batch(statements)
    } catch (error) {
      throw storeErrorOf(error)
    }
  }
}

function storeErrorOf(error: unknown): unknown {
  if (error instanceof RowsRefused) return new StoreError('refused', error.message, { cause: error })
  if (!(error instanceof SqlError)) return error
  // A fence that is another's by now.
  if (error.code === rowsUnexpected) return new StoreError('fenced', error.message, { cause: error })
  return new StoreError(error.retryable ? 'away' : 'refused', error.message, { cause: error })
}

const storedOffset = (text: string | null | undefined): Offset => toOffset(Number(text))
