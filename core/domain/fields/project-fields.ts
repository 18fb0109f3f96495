/**
 * Rows of documents that hold facts: of the entities and the facts that an update touched, or of all. The same facts give the
 * same rows (P5), however they came.
 *
 * A fold is kept for each state it was made of, as long as that is kept, so that a new fact costs what it changes. It is made anew
 * when it has not seen every fact that the state has.
 */
import type { MapState, State, Touched, Value } from '../../engine/live-document.ts'
import { type Fact, factsRoot } from '../facts/fact.ts'
import { DocumentFold, type FactEntry } from '../fold/document-fold.ts'
import { entityFrom, type FieldFrom, type FieldsOfDocument, fieldsFrom, fieldsOf } from '../fold/fields.ts'
import { type MultiValue, type Side, sinceOf } from '../kinds/multi-value.ts'
import type { OwnerState } from '../kinds/owner.ts'
import { fieldOfRoot } from '../kinds/text.ts'
import type { Row } from '../row.ts'
import { isoOf, toldSides } from './columns.ts'
import type { FieldColumn, FieldTables, Settles } from './tables.ts'

export interface FieldRows {
  readonly table: string
  /** Which entries the rows replace; null: all of the document's. */
  readonly entries: readonly string[] | null
  readonly rows: readonly Row[]
}

export class FieldsProjection {
  readonly tables: FieldTables
  private readonly definition: FieldsOfDocument
  private readonly settles: Settles
  private readonly from: readonly FieldFrom[]
  /** By who projects: each is told all changes. */
  private readonly folds = new WeakMap<State, Map<string, DocumentFold>>()

  constructor(tables: FieldTables, definition: FieldsOfDocument, settles: Settles = {}) {
    this.tables = tables
    this.definition = definition
    this.settles = settles
    this.from = fieldsFrom(definition)
  }

  /** All rows of the document, for `reader`, whose fold is kept. */
  whole(state: State, reader: string): FieldRows[] {
    const fold = this.newFold(state, reader)
    const entities = this.names(fold, state)
    const { collections, facts, conflicts } = this.tables
    return [
      this.documentRow(fold, state),
      ...[...collections].map(([collection, { table, columns }]) => ({
        table,
        entries: null,
        rows: entities
          .filter((entity) => entity.startsWith(`${collection}/`))
          .map((entity) => entityRow(fold, state, entity, columns)),
      })),
      {
        table: facts,
        entries: null,
        rows: entities
          .flatMap((entity) => fold.facts(entity))
          .filter(isTold)
          .map((fact) => this.factRow(fold, fact)),
      },
      {
        table: conflicts,
        entries: null,
        rows: entities.flatMap((entity) => this.conflictsOf(fold, state, entity)),
      },
    ]
  }

  /** What is to be replaced after an update that touched this. */
  touched(state: State, touched: Touched, reader: string): FieldRows[] {
    const known = this.folds.get(state)?.get(reader)
    if (known === undefined) return this.whole(state, reader)
    const map = state.map(factsRoot)
    known.apply([...(touched.get(factsRoot)?.keys ?? [])].map((key) => entryOf(map, key)))
    // Something came of which nobody said so.
    if (known.taken !== map.writtenCount()) return this.whole(state, reader)
    const changes = known.takeChanges()
    if (changes === null) return this.whole(state, reader)
    const { facts } = changes
    const entities = new Set(changes.entities)
    for (const [root, { keys }] of touched) {
      const entity = fieldOfRoot(root)?.entity
      if (entity !== undefined && this.isThere(known, state, entity)) entities.add(entity)
      for (const field of this.from.filter(({ map }) => map === root))
        for (const key of keys) {
          const named = entityFrom(field, key)
          if (named !== null) entities.add(named)
        }
    }
    const replaced: FieldRows[] = []
    if (entities.has('')) replaced.push(this.documentRow(known, state))
    for (const [collection, { table, columns }] of this.tables.collections) {
      const own = [...entities].filter((entity) => entity.startsWith(`${collection}/`)).sort()
      if (own.length > 0)
        replaced.push({
          table,
          entries: own,
          rows: own
            .filter((entity) => this.isThere(known, state, entity))
            .map((entity) => entityRow(known, state, entity, columns)),
        })
    }
    const told = facts.filter(isTold)
    if (told.length > 0)
      replaced.push({
        table: this.tables.facts,
        entries: told.map(({ key }) => key),
        rows: told.map((fact) => this.factRow(known, fact)),
      })
    const waiting = [...entities].sort()
    const entries = waiting.flatMap((entity) =>
      this.multiValuesOf(entity).map((field) => entryOfConflict(entity, field)),
    )
    if (entries.length > 0)
      replaced.push({
        table: this.tables.conflicts,
        entries,
        rows: waiting.flatMap((entity) => this.conflictsOf(known, state, entity)),
      })
    return replaced
  }

  /** The one that `reader` was last told of, if it is kept. */
  fold(state: State, reader: string): DocumentFold | null {
    return this.folds.get(state)?.get(reader) ?? null
  }

  /** One of its own, that nobody else is told of. */
  foldOf(state: State): DocumentFold {
    const fold = new DocumentFold(this.definition)
    const map = state.map(factsRoot)
    fold.apply([...map.written()].map((key) => entryOf(map, key)))
    // From here on.
    fold.takeChanges()
    return fold
  }

  private newFold(state: State, reader: string): DocumentFold {
    const fold = this.foldOf(state)
    const folds = this.folds.get(state) ?? new Map<string, DocumentFold>()
    this.folds.set(state, folds.set(reader, fold))
    return fold
  }

  /** A document without facts has a row as well: it is there. */
  private documentRow(fold: DocumentFold, state: State): FieldRows {
    return { table: this.tables.document, entries: null, rows: [rowOf(fold, state, '', this.tables.columns)] }
  }

  /** Of the entity's fields, those that are in conflict, each with its sides and whose business that is. */
  conflictsIn(fold: DocumentFold, state: State, entity: string): InConflict[] {
    return this.multiValuesOf(entity).flatMap((field) => {
      const { conflict } = fold.read(entity, field, state) as MultiValue<Value>
      return conflict === null ? [] : [{ entity, field, sides: conflict, roles: this.rolesOf(entity, field) }]
    })
  }

  /** Those with facts, and those that a map has a key of. Sorted. */
  private names(fold: DocumentFold, state: State): string[] {
    const names = new Set(fold.names())
    for (const field of this.from)
      for (const key of field.collection === '' ? [field.key] : state.map(field.map).keys())
        names.add(entityFrom(field, key)!)
    return [...names].sort()
  }

  private isThere(fold: DocumentFold, state: State, entity: string): boolean {
    if (entity === '' || fold.facts(entity).length > 0) return true
    const slash = entity.indexOf('/')
    return this.from.some(
      ({ collection, map }) =>
        collection === entity.slice(0, slash) && state.map(map).has(entity.slice(slash + 1)),
    )
  }

  /** Who is asked to settle it; empty: anybody. */
  rolesOf(entity: string, field: string): readonly string[] {
    const path = entity === '' ? field : `${entity.slice(0, entity.indexOf('/'))}.${field}`
    return Object.hasOwn(this.settles, path) ? this.settles[path]! : []
  }

  private multiValuesOf(entity: string): string[] {
    const own = fieldsOf(this.definition, entity)
    return Object.keys(own).filter((field) => own[field]!.name === 'multiValue')
  }

  private conflictsOf(fold: DocumentFold, state: State, entity: string): Row[] {
    return this.conflictsIn(fold, state, entity).map(({ field, sides, roles }) => ({
      entry: entryOfConflict(entity, field),
      entity,
      field,
      sides: toldSides(sides),
      since: isoOf(sinceOf(sides)),
      roles,
    }))
  }

  private factRow(fold: DocumentFold, fact: Fact): Row {
    const { key, entity, type, payload, actor, outcome, lamport } = fact
    const dot = type.indexOf('.')
    const field = type.slice(0, dot)
    const operation = type.slice(dot + 1)
    return {
      entry: key,
      entity,
      field,
      operation,
      payload,
      actor,
      subject: fold.subjectOf(actor) ?? '',
      status: outcome.status,
      reason: outcome.reason,
      decided_by: outcome.by,
      detail: outcome.detail as Value | undefined,
      place: lamport,
      ...(outcome.status === 'pending' && {
        holder: outcome.reason === 'proposal' ? this.holderOf(fold, entity) : null,
        roles: fieldsOf(this.definition, entity)[field]?.rolesOf?.(operation) ?? [],
      }),
    }
  }

  /** Whom a proposal waits for. A hand-over changes its outcome, so its row follows. */
  private holderOf(fold: DocumentFold, entity: string): string | null {
    const own = fieldsOf(this.definition, entity)
    const field = Object.keys(own).find((name) => own[name]!.name === 'owner')
    return field === undefined ? null : (fold.state(entity, field) as OwnerState).holder
  }
}

export interface InConflict {
  readonly entity: string
  readonly field: string
  readonly sides: readonly Side<Value>[]
  readonly roles: readonly string[]
}

const entryOfConflict = (entity: string, field: string): string => `${entity}.${field}`

function entryOf(map: MapState, key: string): FactEntry {
  return { key, value: map.get(key), intact: map.isIntact(key) }
}

/** Decisions are seen in the outcome of their intents. */
const isTold = ({ isDecision }: Fact): boolean => !isDecision

function entityRow(fold: DocumentFold, state: State, entity: string, columns: readonly FieldColumn[]): Row {
  const id = entity.slice(entity.indexOf('/') + 1)
  return { entry: entity, id, ...rowOf(fold, state, entity, columns) }
}

function rowOf(fold: DocumentFold, state: State, entity: string, columns: readonly FieldColumn[]): Row {
  const row: Record<string, Row[string]> = {}
  let field: string | null = null
  let read: unknown
  for (const column of columns) {
    if (column.field !== field) {
      field = column.field
      read = fold.read(entity, field, state)
    }
    row[column.name] = column.value(read)
  }
  return row
}
