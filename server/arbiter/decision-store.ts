/**
 * Where decisions are settled, in one SQL transaction, before they go into the log: so however often whoever decides dies between the
 * two, a document gets one decision on an intent, and always the same bytes.
 *
 *   1. the fences of the parts, as the projector's writes have them: who was paused and is no holder any more settles nothing
 *   2. claims: an accepted intent can take resources (`harvest/42`) that at most one holder has, over all documents; locks in one order,
 *      so two that want the same wait for each other, and the second is rejected
 *   3. the update that says the decision, unless there is one already
 *
 * What comes back is what is settled, be it what was offered or what somebody settled before.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { FactKey } from '../../core/domain/facts/fact.ts'
import { rowsUnexpected, type Sql, SqlError, type Statement } from '../views/sql/sql.ts'
import { fenceOf } from '../views/store/fence.ts'

export interface Judged {
  readonly document: DocumentId
  /** Of the document: its epoch. */
  readonly lineage: number
  readonly entity: string
  readonly intent: FactKey
  /** That says the decision. */
  readonly update: Uint8Array
  /** Null: it takes and frees nothing. */
  readonly claims: JudgedClaims | null
}

export interface JudgedClaims {
  readonly takes: readonly string[]
  readonly frees: readonly string[]
  /** That says that something of what it takes is taken. */
  readonly refusal: Uint8Array
}

export interface Settled {
  readonly document: DocumentId
  readonly intent: FactKey
  readonly update: Uint8Array
}

/** Another node holds a part now: nothing was settled. */
export class Fenced extends Error {
  override readonly name = 'Fenced'
}

const keepDays = 30

export class DecisionStore {
  private readonly sql: Sql

  constructor(sql: Sql) {
    this.sql = sql
  }

  /** In the order in which they are given. `fences` by part. Throws `Fenced`, and `SqlError`. */
  async settle(judged: readonly Judged[], fences: ReadonlyMap<number, number>): Promise<Settled[]> {
    const claiming = judged.filter(({ claims }) => claims !== null)
    const resources = claiming.flatMap(({ claims }) => [...claims!.takes, ...claims!.frees])
    const statements: Statement[] = [
      fenceOf(fences),
      ...(resources.length > 0 ? [lockOf(resources)] : []),
      ...claiming.map(claimOf),
      insertionOf(judged.filter(({ claims }) => claims === null)),
      {
        text: `select d.document, d.intent, encode(d.update, 'base64')
          from json_to_recordset($1::json) as j(n int, document text, lineage bigint, intent text)
          join tidemark.decisions d using (document, lineage, intent) order by j.n`,
        parameters: [
          JSON.stringify(
            judged.map(({ document, lineage, intent }, n) => ({ n, document, lineage, intent })),
          ),
        ],
        rowsExpected: judged.length,
      },
    ]
    try {
      const rows = (await this.sql.batch(statements)).at(-1)!.rows
      return rows.map(([document, intent, update]) => ({
        document: document as DocumentId,
        intent: intent!,
        update: new Uint8Array(Buffer.from(update!, 'base64')),
      }))
    } catch (error) {
      if (error instanceof SqlError && error.code === rowsUnexpected && error.statement === 0)
        throw new Fenced('Another node decides', { cause: error })
      throw error
    }
  }

  /** What the document had, in this lineage, can be had by others. */
  async free(document: DocumentId, lineage: number): Promise<void> {
    await this.sql.batch([
      {
        text: 'delete from tidemark.claims where document = $1 and lineage = $2',
        parameters: [document, lineage],
      },
    ])
  }

  /** Forgets what was settled so long ago that it has been in the log for ages. */
  async sweep(): Promise<void> {
    await this.sql.batch([
      { text: `delete from tidemark.decisions where at < now() - interval '${keepDays} days'` },
    ])
  }
}

/** Two transactions that lock in one order do not wait for each other in a circle. */
function lockOf(resources: readonly string[]): Statement {
  const sorted = [...new Set(resources)].sort()
  return {
    text: `select pg_advisory_xact_lock(hashtextextended(resource, 7163201974512))
      from json_array_elements_text($1::json) with ordinality as r(resource, n) order by n`,
    parameters: [JSON.stringify(sorted)],
  }
}

function claimOf({ document, lineage, entity, intent, update, claims }: Judged): Statement {
  const { takes, frees, refusal } = claims!
  return {
    // What a lineage that has ended still has keeps its successor from nothing.
    text: `with new as (
        select not exists (
          select from tidemark.decisions where document = $1 and lineage = $8 and intent = $3) as is_new),
      free as (
        select is_new, not exists (select from tidemark.claims
          where resource in (select json_array_elements_text($4::json))
            and (document <> $1 or (entity <> $2 and lineage = $8))) as ok
        from new),
      taken as (
        insert into tidemark.claims as c (resource, document, entity, intent, lineage)
        select resource, $1, $2, $3, $8 from free, json_array_elements_text($4::json) resource
        where is_new and ok on conflict (resource) do update
        set entity = excluded.entity, intent = excluded.intent, lineage = excluded.lineage
        where c.document = excluded.document and c.lineage <> excluded.lineage),
      freed as (
        delete from tidemark.claims where (select is_new and ok from free)
          and (document, entity, lineage) = ($1, $2, $8)
          and resource in (select json_array_elements_text($5::json)))
      insert into tidemark.decisions (document, lineage, intent, update)
      select $1, $8, $3, decode(case when ok then $6 else $7 end, 'base64') from free where is_new
      on conflict do nothing`,
    parameters: [
      document,
      entity,
      intent,
      JSON.stringify(takes),
      JSON.stringify(frees),
      base64(update),
      base64(refusal),
      lineage,
    ],
  }
}

function insertionOf(judged: readonly Judged[]): Statement {
  const rows = judged.map(({ document, lineage, intent, update }) => ({
    document,
    lineage,
    intent,
    update: base64(update),
  }))
  return {
    text: `insert into tidemark.decisions (document, lineage, intent, update)
      select document, lineage, intent, decode(update, 'base64')
      from json_to_recordset($1::json) as j(document text, lineage bigint, intent text, update text)
      order by document, intent
      on conflict do nothing`,
    parameters: [JSON.stringify(rows)],
  }
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
