/**
 * One node's rows in the database: its share of the parts, and what it writes under their fences.
 *
 * - Parts are leased in the database, by its own clock, since a node that cannot reach it has nothing to hold. Each node
 *   says that it is there; each holds at most its share, gives up what is more, and takes what is free. So a new node
 *   gets its share within two claims of the others.
 * - A lease only spreads the work. What keeps a holder that was paused from writing is the fence, which rises with each holder
 *   and is checked in the transaction that writes.
 */
import { randomUUID } from 'node:crypto'
import type { DocumentId } from '../../core/document-id.ts'
import { type Offset, toOffset } from '../../core/offset.ts'
import type { Progress } from './live-documents.ts'
import { partCount, partOf } from './parts.ts'
import { type DeadLetter, type Projected, type RowStore, StoreError } from './row-store.ts'
import { rowsUnexpected, type Sql, SqlError } from './sql/sql.ts'
import { RowsRefused, type Writer } from './store/writer.ts'
import { nextOf } from './versions.ts'

export interface SqlRowStoreOptions {
  readonly sql: Sql
  readonly writer: Writer
  /** Where an adapter's tables are, by its name. */
  readonly schemas: ReadonlyMap<string, string>
  /** Of the adapters' versions, by schema: others must not be written to. */
  readonly versions: ReadonlyMap<string, number>
  /** Whose cursors: other adapters, or versions, have others. */
  readonly cursorName: string
  /** Several times as long as the projector's time between claims. */
  readonly leaseMs: number
}

export class SqlRowStore implements RowStore {
  private readonly options: SqlRowStoreOptions
  private readonly node = randomUUID()
  private fences = new Map<number, number>()
  private prepared = false

  constructor(options: SqlRowStoreOptions) {
    this.options = options
  }

  async claim(): Promise<ReadonlyMap<number, number>> {
    const { cursorName, leaseMs } = this.options
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
        text: `select p.part, p.fence, case when c.part_count = ${partCount} then c.sequence else 0 end
          from tidemark.parts p left join tidemark.cursors c on c.name = $2 and c.part = p.part where ${mine}`,
        parameters: [node, cursorName],
      },
      { text: 'select schema, version from tidemark.adapters' },
    ])
    this.assertInPlace(results.at(-1)?.rows ?? [])
    const held = (results.at(-2)?.rows ?? []).map((row) => row.map(Number) as [number, number, number])
    this.fences = new Map(held.map(([part, fence]) => [part, fence]))
    return new Map(held.map(([part, , cursor]) => [part, cursor]))
  }

  private assertInPlace(rows: readonly (readonly (string | null)[])[]): void {
    const there = new Map(rows.map(([schema, version]) => [schema, Number(version)]))
    const { schemas, versions } = this.options
    for (const [name, schema] of schemas) {
      const version = versions.get(schema)!
      const newest = Math.max(there.get(name) ?? 0, there.get(nextOf(name)) ?? 0)
      if (there.get(schema) !== version || newest > version)
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
    ])
    this.prepared = true
  }

  async progressOf(
    documents: readonly DocumentId[],
  ): Promise<ReadonlyMap<DocumentId, ReadonlyMap<string, Progress>>> {
    const names = new Map([...this.options.schemas].map(([name, schema]) => [schema, name]))
    const [result] = await this.batch([
      {
        text: `select document, adapter, epoch, "offset" from tidemark.progress
          where document in (select json_array_elements_text($1::json))`,
        parameters: [JSON.stringify(documents)],
      },
    ])
    const found = new Map<DocumentId, Map<string, Progress>>()
    for (const [document, schema, epoch, offset] of result?.rows ?? []) {
      const name = names.get(schema ?? '')
      if (name === undefined) continue
      const own = found.get(document as DocumentId) ?? new Map<string, Progress>()
      own.set(name, { epoch: storedOffset(epoch), offset: storedOffset(offset) })
      found.set(document as DocumentId, own)
    }
    return found
  }

  async write(
    projected: readonly Projected[],
    dead: readonly DeadLetter[],
    cursors: ReadonlyMap<number, number>,
  ): Promise<void> {
    const { writer, cursorName } = this.options
    const parts = new Set([
      ...cursors.keys(),
      ...[...projected, ...dead].map(({ document }) => partOf(document)),
    ])
    const fences = new Map<number, number>()
    for (const part of parts) {
      const fence = this.fences.get(part)
      if (fence === undefined) throw new StoreError('fenced', `Part ${part} is not held`)
      fences.set(part, fence)
    }
    const documents = projected.map(({ adapter, document, progress, replacements }) => ({
      schema: this.schemaOf(adapter.name),
      document,
      progress,
      replacements,
    }))
    const buried = dead.map(({ adapter, document, progress, reason }) => ({
      schema: this.schemaOf(adapter.name),
      version: adapter.version,
      document,
      progress,
      reason,
    }))
    try {
      await writer.write({ documents, dead: buried, fences, cursors, cursorName, partCount })
    } catch (error) {
      throw storeErrorOf(error)
    }
  }

  async release(): Promise<void> {
    this.fences.clear()
    await this.batch([
      { text: 'update tidemark.parts set until = now() where holder = $1', parameters: [this.node] },
      { text: 'delete from tidemark.nodes where node = $1', parameters: [this.node] },
    ])
  }

  private schemaOf(adapter: string): string {
    const schema = this.options.schemas.get(adapter)
    if (schema === undefined) throw new Error(`no schema for the adapter ${adapter}`)
    return schema
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
