/** Which fields an adapter's documents, and the entities in them, have. */
import type { Fact } from '../facts/fact.ts'
import type { AnyKind, Operation } from './kind.ts'

export type Fields = Readonly<Record<string, AnyKind>>

export interface FieldsOfDocument {
  /** Of the document itself. */
  readonly fields: Fields
  /** Of entities in it: `lines/7` has those of `lines`. */
  readonly collections?: Readonly<Record<string, Fields>>
  /** Version of the adapter; facts of a higher one are not understood. Default 1. */
  readonly version?: number
  /** By version: what a fact of that version is in the next one; null when it says nothing any more. */
  readonly upcast?: Readonly<Record<number, (fact: Written) => Written | null>>
}

/** What an adapter's version decides about a fact. */
export type Written = Pick<Fact, 'entity' | 'type' | 'payload'>

/** What facts of a type are about, and what holds for them. */
export interface Meaning {
  readonly field: string
  readonly kind: AnyKind
  readonly operation: string
  readonly rules: Operation
}

/** Of the entities that have the same fields. */
export interface Vocabulary {
  readonly fields: ReadonlyMap<string, AnyKind>
  /** By the type of a fact. */
  readonly meanings: ReadonlyMap<string, Meaning>
  /** Fields whose kind may withhold facts of others. */
  readonly withholding: readonly (readonly [field: string, kind: AnyKind])[]
}

const noFields: Fields = {}

/** None, for an entity of a collection that the adapter does not have. The same ones for the same collection. */
export function fieldsOf({ fields, collections = {} }: FieldsOfDocument, entity: string): Fields {
  if (entity === '') return fields
  const slash = entity.indexOf('/')
  const name = slash === -1 ? '' : entity.slice(0, slash)
  return Object.hasOwn(collections, name) ? collections[name]! : noFields
}

/** A field that is what a root map has, and not made of facts. */
export interface FieldFrom {
  readonly map: string
  /** Of entities of this collection, one for each key; '' of the document itself, with that key. */
  readonly collection: string
  readonly key: string
}

export function fieldsFrom({ fields, collections = {} }: FieldsOfDocument): FieldFrom[] {
  return Object.entries({ '': fields, ...collections }).flatMap(([collection, own]) =>
    Object.entries(own).flatMap(([field, { from }]) =>
      from === undefined ? [] : [{ map: from.map, collection, key: from.key ?? field }],
    ),
  )
}

/** Of which entity a key of the map is a field; null: of none. */
export const entityFrom = ({ collection, key: own }: FieldFrom, key: string): string | null =>
  collection === '' ? (key === own ? '' : null) : `${collection}/${key}`

/** Whom a fact is about, for lookups by collection and type: `/note.set`, `lines/note.set`. */
export const kindOfFact = ({ entity, type }: Pick<Fact, 'entity' | 'type'>): string =>
  `${entity.slice(0, Math.max(0, entity.indexOf('/')))}/${type}`

/** Facts that say when they were written, as `kindOfFact` calls them. */
export function clockedFacts({ fields, collections = {} }: FieldsOfDocument): string[] {
  return Object.entries({ '': fields, ...collections }).flatMap(([collection, own]) =>
    Object.entries(own).flatMap(([field, { operations }]) =>
      Object.entries(operations).flatMap(([name, { clocked }]) =>
        clocked === true ? [`${collection}/${field}.${name}`] : [],
      ),
    ),
  )
}

export class Dictionary {
  private readonly definition: FieldsOfDocument
  private readonly vocabularies = new Map<Fields, Vocabulary>()

  constructor(definition: FieldsOfDocument) {
    this.definition = definition
  }

  get version(): number {
    return this.definition.version ?? 1
  }

  vocabularyOf(entity: string): Vocabulary {
    const fields = fieldsOf(this.definition, entity)
    const known = this.vocabularies.get(fields)
    if (known !== undefined) return known
    const vocabulary = learn(fields)
    this.vocabularies.set(fields, vocabulary)
    return vocabulary
  }

  /** The fact as this version of the adapter says it; foreign, if it says nothing in this version. */
  translate(fact: Fact): Fact {
    let written: Written | null = fact.version > this.version ? null : fact
    for (let version = fact.version; version < this.version && written !== null; version++)
      written = (this.definition.upcast?.[version] ?? same)(written)
    if (written === null || written.entity !== fact.entity) {
      fact.isForeign = true
      return fact
    }
    return written === fact ? fact : fact.translated(written.type, written.payload)
  }
}

function learn(fields: Fields): Vocabulary {
  const meanings = new Map<string, Meaning>()
  for (const [field, kind] of Object.entries(fields))
    for (const [operation, rules] of Object.entries(kind.operations))
      meanings.set(`${field}.${operation}`, { field, kind, operation, rules })
  const withholding = Object.entries(fields).filter(([, { withhold }]) => withhold !== undefined)
  return { fields: new Map(Object.entries(fields)), meanings, withholding }
}

const same = (written: Written): Written => written
