/**
 * The tables that fields come to, beside those that an adapter makes itself. Of an adapter `deals` with a collection `lines`:
 *
 *   deals            a row for each document           its fields
 *   deals_lines      a row for each entity of `lines`  its fields; `id` is what is behind the slash
 *   deals_facts      a row for each fact               what it says, whose it is, what became of it
 *   deals_conflicts  a row for each field that waits for a person, with all sides
 *
 * An offer, an intent, a proposal is a fact, so its outcome is a column to filter by.
 */
import type { Fields, FieldsOfDocument } from '../fold/fields.ts'
import { type Column, columnsOf } from './columns.ts'

/** SQL types of fields that hold what the app says: `{ price: 'numeric', 'lines.count': 'integer' }`. Default: jsonb. */
export type ColumnTypes = Readonly<Record<string, string>>

export interface FieldTables {
  readonly sql: string
  /** In the order of the SQL. */
  readonly names: readonly string[]
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

/** Throws an `Error` that says what is wrong. */
export function tablesOf(name: string, definition: FieldsOfDocument, types: ColumnTypes = {}): FieldTables {
  const { fields, collections = {} } = definition
  const columns = columnsOfFields(fields, '', types)
  const entities = new Map<string, CollectionTable>()
  for (const [collection, own] of Object.entries(collections)) {
    if (!identifier.test(collection) || collection === 'facts' || collection === 'conflicts')
      throw new Error(`a collection cannot be called "${collection}"`)
    const table = `${name}_${collection}`
    entities.set(collection, { table, columns: columnsOfFields(own, `${collection}.`, types) })
  }
  const unknown = Object.keys(types).find((field) => !hasField(definition, field))
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
       place bigint not null, primary key (document, entry));`,
    `create index on ${facts} (status, field, operation);`,
    `create table ${conflicts} (document text, entry text, entity text not null, field text not null, sides jsonb not null,
       primary key (document, entry));`,
  ]
  const entryTables = [...[...entities.values()].map(({ table }) => table), facts, conflicts]
  return {
    sql: statements.join('\n'),
    names: [name, ...entryTables],
    entryTables,
    document: name,
    facts,
    conflicts,
    columns,
    collections: entities,
  }
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

function hasField({ fields, collections = {} }: FieldsOfDocument, path: string): boolean {
  const dot = path.indexOf('.')
  if (dot === -1) return Object.hasOwn(fields, path)
  return Object.hasOwn(collections[path.slice(0, dot)] ?? {}, path.slice(dot + 1))
}

const sqlOf = ({ name, type }: Column): string => `"${name}" ${type}`
