/**
 * The tables that fields come to, beside those that an adapter makes itself. Of an adapter `deals` with a collection `lines`:
 *
 *   deals            a row for each document           its fields
 *   deals_lines      a row for each entity of `lines`  its fields; `id` is what is behind the slash
 *   deals_facts      a row for each fact               what it says, whose it is, what became of it
 *   deals_conflicts  a row for each field that waits for a person, with all sides
 *   deals_bids       a row for each offer of the field `bids`, open or not
 *   deals_parked     a row for each reference to a document that is not there (yet)
 *
 * An offer, an intent, a proposal is a fact, so its outcome is a column to filter by; `deals_bids` is a view of these that says it in
 * the words of offers.
 *
 * `deals_parked` is a view and no column: whether another document is there is nothing that rows of this one could be made of, or
 * they would be others after a rebuild. So it is asked when somebody looks, in whatever order documents come (`tidemark.is_there`).
 * Who may not read a target is not told whether it is there.
 */
import type { Fields, FieldsOfDocument } from '../fold/fields.ts'
import type { AnyKind } from '../fold/kind.ts'
import { type Column, columnsOf } from './columns.ts'

/** By field, as `columns` names them: in whose inbox its conflicts are. */
export type Settles = Readonly<Record<string, readonly string[]>>

/** SQL types of fields that hold what the app says: `{ price: 'numeric', 'lines.count': 'integer' }`. Default: jsonb. */
export type ColumnTypes = Readonly<Record<string, string>>

export interface FieldTables {
  readonly sql: string
  /** In the order of the SQL. */
  readonly names: readonly string[]
  readonly views: readonly string[]
  /** All but the document's own. */
  readonly entryTables: readonly string[]
  readonly document: string
  readonly facts: string
  readonly conflicts: string
  readonly columns: readonly FieldColumn[]
  readonly collections: ReadonlyMap<string, CollectionTable>
}

export interface FieldColumn extends Column {
  readonly field: string
}

export interface CollectionTable {
  readonly table: string
  readonly columns: readonly FieldColumn[]
}

const identifier = /^[a-z][a-z0-9_]{0,39}$/
const taken = new Set(['document', 'entry', 'id'])
const reserved = new Set(['facts', 'conflicts', 'parked'])

/** Throws an `Error` that says what is wrong. */
export function tablesOf(name: string, definition: FieldsOfDocument, types: ColumnTypes = {}): FieldTables {
  const { fields, collections = {} } = definition
  const columns = columnsOfFields(fields, '', types)
  const entities = new Map<string, CollectionTable>()
  for (const [collection, own] of Object.entries(collections)) {
    if (!identifier.test(collection) || reserved.has(collection))
      throw new Error(`a collection cannot be called "${collection}"`)
    const table = `${name}_${collection}`
    entities.set(collection, { table, columns: columnsOfFields(own, `${collection}.`, types) })
  }
  const unknown = Object.keys(types).find((field) => kindAt(definition, field) === undefined)
  if (unknown !== undefined) throw new Error(`"columns" has "${unknown}", which is no field`)
  const facts = `${name}_facts`
  const conflicts = `${name}_conflicts`
  const statements = [
    `create table ${name} (${['document text primary key', ...columns.map(sqlOf)].join(', ')});`,
    ...[...entities.values()].map(
      ({ table, columns }) =>
        `create table ${table} (${['document text', 'entry text', 'id text not null', ...columns.map(sqlOf)].join(', ')}, primary key (document, entry));`,
    ),
    `create table ${facts} (document text, entry text, entity text not null, field text, operation text, payload jsonb,
       actor text not null, subject text not null, status text not null, reason text, decided_by text, detail jsonb,
       place bigint not null, holder text, roles text[], primary key (document, entry));`,
    `create index on ${facts} (status, field, operation);`,
    `create table ${conflicts} (document text, entry text, entity text not null, field text not null, sides jsonb not null,
       since timestamptz, roles text[] not null, primary key (document, entry));`,
  ]
  const views: string[] = []
  const addView = (view: string, query: string): void => {
    if (
      [name, facts, conflicts, ...views].includes(view) ||
      [...entities.values()].some(({ table }) => table === view)
    )
      throw new Error(`there would be two tables "${view}": call a field otherwise`)
    views.push(view)
    statements.push(viewSql(view, query))
  }
  for (const field of offersIn(fields))
    addView(`${name}_${columnNameOf(field)}`, offersSql(facts, field, null))
  for (const [collection, { table }] of entities)
    for (const field of offersIn(collections[collection]!))
      addView(`${table}_${columnNameOf(field)}`, offersSql(facts, field, collection))
  const references = [
    ...referencesOf(name, fields, `''`),
    ...[...entities].flatMap(([collection, { table }]) =>
      referencesOf(table, collections[collection]!, 'entry'),
    ),
  ]
  if (references.length > 0) addView(`${name}_parked`, references.join(' union all '))
  const entryTables = [...[...entities.values()].map(({ table }) => table), facts, conflicts]
  return {
    sql: statements.join('\n'),
    names: [name, ...entryTables],
    views,
    entryTables,
    document: name,
    facts,
    conflicts,
    columns,
    collections: entities,
  }
}

/** PostgreSQL 14 knows no such view: there, only who is granted it reads it. */
const viewSql = (name: string, query: string): string => `do $view$ begin
  if current_setting('server_version_num')::int >= 150000 then
    create view ${name} with (security_invoker = true) as ${query};
  else
    create view ${name} as ${query};
  end if;
end $view$;`

const offersIn = (fields: Fields): string[] =>
  Object.keys(fields).filter((field) => fields[field]!.name === 'offers')

/** Every bid and answer; `offer` is its key, as `answers` names it. Of a collection, or of the document itself. */
const offersSql = (facts: string, field: string, collection: string | null): string => `
  select document, ${collection === null ? '' : 'entity as entry, '}entry as offer, payload ->> 'to' as answers, subject, actor,
    case operation when 'bid' then payload else payload -> 'terms' end as terms,
    case when status = 'effective' then case when decided_by is null then 'open' else 'accepted' end
      when status = 'superseded' then coalesce(reason, 'countered') else coalesce(reason, status) end as status,
    decided_by, place
  from ${facts} where field = '${field}' and operation in ('bid', 'counter')
    and ${collection === null ? `entity = ''` : `starts_with(entity, '${collection}/')`}`

/** For each, what is not there of what it points to. */
function referencesOf(table: string, fields: Fields, entity: string): string[] {
  const names = Object.keys(fields).filter((field) => fields[field]!.name === 'reference')
  return names.map((field) => {
    const column = `"${columnNameOf(field)}"`
    return `select document, ${entity} as entity, '${field}' as field, ${column} as target from ${table}
      where ${column} is not null and tidemark.is_there(${column}) is false`
  })
}

function columnsOfFields(fields: Fields, prefix: string, types: ColumnTypes): FieldColumn[] {
  const columns = Object.entries(fields).flatMap(([field, kind]) => {
    const name = columnNameOf(field)
    if (!identifier.test(name)) throw new Error(`a field cannot be called "${prefix}${field}"`)
    return columnsOf(name, kind, types[prefix + field]).map((column) => ({ ...column, field }))
  })
  const names = columns.map(({ name }) => name)
  const twice = names.find((name, i) => taken.has(name) || names.indexOf(name) !== i)
  if (twice !== undefined)
    throw new Error(`there would be two columns "${twice}": call a field of "${prefix}" otherwise`)
  return columns
}

/** `validUntil` is `valid_until` in SQL. */
export const columnNameOf = (field: string): string =>
  field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Throws an `Error` for what is no such field, or no role. */
export function checkSettles(definition: FieldsOfDocument, settles: Settles): void {
  for (const [path, roles] of Object.entries(settles)) {
    if (kindAt(definition, path)?.name !== 'multiValue')
      throw new Error(`"settles" has "${path}", which is no field of multiValue`)
    if (!Array.isArray(roles) || roles.some((role) => typeof role !== 'string'))
      throw new Error(`"settles.${path}" must be a list of roles`)
  }
}

function kindAt({ fields, collections = {} }: FieldsOfDocument, path: string): AnyKind | undefined {
  const dot = path.indexOf('.')
  const own = dot === -1 ? fields : (collections[path.slice(0, dot)] ?? {})
  const field = path.slice(dot + 1)
  return Object.hasOwn(own, field) ? own[field] : undefined
}

const sqlOf = ({ name, type }: Column): string => `"${name}" ${type}`
