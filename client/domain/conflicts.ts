/** Conflicts of an open document: which there are, and settling them, offline too. */
import { type Draft, refusal } from '../../core/domain/facts/draft.ts'
import type { FactKey } from '../../core/domain/facts/fact.ts'
import type { DocumentFold } from '../../core/domain/fold/document-fold.ts'
import { type FieldsOfDocument, fieldsOf } from '../../core/domain/fold/fields.ts'
import type { AnyKind, At } from '../../core/domain/fold/kind.ts'
import { type MultiValue, type Side as SideOf, sinceOf } from '../../core/domain/kinds/multi-value.ts'
import type { Value } from '../../core/engine/live-document.ts'
import type { Done } from './domain.ts'

export type Side = SideOf<Value>

/** One of the sides as it is, by its key; or another value. */
export type Choice = { readonly side: FactKey } | { readonly value: Value }

export interface Conflict {
  /** '' is the document itself. */
  readonly entity: string
  readonly field: string
  /** Milliseconds since 1970, by the clocks of those who wrote: since when there are two of them. */
  readonly since: number | null
  readonly sides: readonly Side[]
  /** Takes the place of these sides. Refused as `conflict_changed` when they are others by now, with those. */
  settle(choice: Choice): Done
}

type Settling = AnyKind & { readonly mutators: { settle(at: At, value: Value): Draft } }

/** `act` does what a mutator says. */
export function conflictsIn(
  fold: DocumentFold,
  definition: FieldsOfDocument,
  act: (kind: AnyKind, entity: string, field: string, draftOf: (at: At) => Draft) => Done,
): Conflict[] {
  return fold.names().flatMap((entity) =>
    Object.entries(fieldsOf(definition, entity)).flatMap(([field, kind]) => {
      if (!settles(kind)) return []
      const { conflict: sides } = fold.read(entity, field) as MultiValue<Value>
      if (sides === null) return []
      const seen = keysOf(sides)
      const settle = (choice: Choice): Done =>
        act(kind, entity, field, (at) => {
          const { value, conflict } = at.fold.read(entity, field) as MultiValue<Value>
          if (conflict === null || keysOf(conflict) !== seen)
            return refusal('conflict_changed', { value, sides: conflict ?? [] })
          if ('value' in choice) return kind.mutators.settle(at, choice.value)
          const chosen = sides.find(({ key }) => key === choice.side)
          return chosen === undefined ? refusal('no_side', { sides }) : kind.mutators.settle(at, chosen.value)
        })
      return [{ entity, field, since: sinceOf(sides), sides, settle }]
    }),
  )
}

const settles = (kind: AnyKind): kind is Settling => kind.name === 'multiValue'

const keysOf = (sides: readonly Side[]): string =>
  sides
    .map(({ key }) => key)
    .sort()
    .join(' ')
