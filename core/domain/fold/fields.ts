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

export interface Understood {
  readonly field: string
  readonly kind: AnyKind
  readonly operation: string
  readonly rules: Operation
  readonly payload: Fact['payload']
}

const noFields: Fields = {}

export class Dictionary {
  private readonly definition: FieldsOfDocument
  private readonly operations = new Map<Fields, ReadonlyMap<string, Omit<Understood, 'payload'>>>()

  constructor(definition: FieldsOfDocument) {
    this.definition = definition
  }

  get version(): number {
    return this.definition.version ?? 1
  }

  fieldsOf(entity: string): Fields {
    if (entity === '') return this.definition.fields
    const slash = entity.indexOf('/')
    const { collections = {} } = this.definition
    const name = slash === -1 ? '' : entity.slice(0, slash)
    return Object.hasOwn(collections, name) ? collections[name]! : noFields
  }

  /** Null: nothing that this version knows. The payload is as it says, not checked. */
  understand(fact: Fact): Understood | null {
    const written = fact.version === this.version ? fact : this.upcast(fact)
    if (written === null || written.entity !== fact.entity) return null
    const fields = this.fieldsOf(fact.entity)
    const known = this.operations.get(fields) ?? this.learn(fields)
    const found = known.get(written.type)
    return found === undefined ? null : { ...found, payload: written.payload }
  }

  private upcast(fact: Fact): Written | null {
    if (fact.version > this.version) return null
    let written: Written | null = fact
    for (let version = fact.version; version < this.version && written !== null; version++)
      written = (this.definition.upcast?.[version] ?? same)(written)
    return written
  }

  private learn(fields: Fields): ReadonlyMap<string, Omit<Understood, 'payload'>> {
    const known = new Map<string, Omit<Understood, 'payload'>>()
    for (const [field, kind] of Object.entries(fields))
      for (const [operation, rules] of Object.entries(kind.operations))
        known.set(`${field}.${operation}`, { field, kind, operation, rules })
    this.operations.set(fields, known)
    return known
  }
}

const same = (written: Written): Written => written
