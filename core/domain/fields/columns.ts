/**
 * What SQL sees of fields: the columns that each kind has in its entity's row. A field is a column of its own name; what there is to
 * say beside its value (a conflict, rights, an epoch) is a column whose name begins with the field's.
 *
 * Here rather than in the kinds: clients carry those, and have no tables.
 */
import type { Value } from '../../engine/live-document.ts'
import type { AnyKind } from '../fold/kind.ts'
import type { MultiValue, Side } from '../kinds/multi-value.ts'
import type { ColumnValue } from '../row.ts'

export interface Column {
  readonly name: string
  /** As in SQL. */
  readonly type: string
  /** From what the field's kind reads. */
  value(read: unknown): ColumnValue
}

type Part = readonly [suffix: string, type: string, value: (read: never) => ColumnValue]

const whole = (read: ColumnValue): ColumnValue => read
/** For what is always JSON in SQL, also when it is a text or null. */
const at =
  (name: string) =>
  (read: Readonly<Record<string, Value>>): ColumnValue =>
    read[name]

/** Sides as SQL and HTTP have them: times in ISO 8601. */
export const toldSides = (sides: readonly Side<Value>[] | null): Value =>
  sides === null ? null : sides.map(toldSide)

export const toldSide = ({ key, value, subject, actor, at }: Side<Value>): ToldSide => ({
  key,
  value,
  subject,
  actor,
  at: isoOf(at),
})

export type ToldSide = Omit<Side<Value>, 'at'> & { readonly at: string | null }

export const isoOf = (timeMs: number | null): string | null =>
  timeMs === null ? null : new Date(timeMs).toISOString()

/** `type`: of fields that hold whatever the app says. */
const partsOf: Readonly<Record<string, (type: string) => readonly Part[]>> = {
  register: (type) => [['', type, whole]],
  lastWrite: (type) => [['', type, whole]],
  reference: () => [['', 'text', whole]],
  text: () => [['', 'text', whole]],
  counter: () => [['', 'bigint', whole]],
  multiValue: (type) => [
    ['', type, at('value')],
    ['_conflict', 'jsonb', ({ conflict }: MultiValue<Value>) => toldSides(conflict)],
  ],
  set: () => [['', 'jsonb', whole]],
  quantity: () => [
    ['', 'numeric', at('value')],
    ['_rights', 'jsonb', at('rights')],
  ],
  workflow: () => [
    ['', 'text', at('state')],
    ['_version', 'text', at('version')],
  ],
  // All of them are rows of their own.
  offers: () => [
    ['', 'text', at('state')],
    ['_accepted', 'jsonb', at('accepted')],
  ],
  owner: () => [
    ['', 'text', at('holder')],
    ['_epoch', 'integer', at('epoch')],
  ],
}

/** Of a kind that is not known here: what it reads, as JSON. */
const anything = (): readonly Part[] => [['', 'jsonb', whole]]

/** `type` is that of `defineAdapter`'s `columns`, if it has one for the field. */
export function columnsOf(field: string, kind: AnyKind, type = 'jsonb'): Column[] {
  const parts = (partsOf[kind.name] ?? anything)(type)
  return parts.map(([suffix, sqlType, value]) => ({
    name: field + suffix,
    type: sqlType,
    value: value as (read: unknown) => ColumnValue,
  }))
}
