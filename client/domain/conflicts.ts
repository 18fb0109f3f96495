/** Conflicts of an open document: which there are, and settling them, offline too. */
import { type Assignment, type Draft, refusal } from '../../core/domain/facts/draft.ts'
import type { FactKey } from '../../core/domain/facts/fact.ts'
import type { DocumentFold } from '../../core/domain/fold/document-fold.ts'
import { type FieldsOfDocument, fieldsOf } from '../../core/domain/fold/fields.ts'
import type { AnyKind, At } from '../../core/domain/fold/kind.ts'
import {
  type MultiValue,
  type Side as SideOf,
  settleOf,
  sinceOf,
} from '../../core/domain/kinds/multi-value.ts'
import type { State, Value } from '../../core/engine/live-document.ts'
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

/** `act` does what a mutator says. */
export function conflictsIn(
  fold: DocumentFold,
  state: State,
  entities: readonly string[],
  definition: FieldsOfDocument,
  act: (kind: AnyKind, entity: string, field: string, draftOf: (at: At) => Draft | Assignment) => Done,
): Conflict[] {
  return entities.flatMap((entity) =>
    Object.entries(fieldsOf(definition, entity)).flatMap(([field, kind]) => {
      const settleAs = settleOf(kind)
      if (settleAs === null) return []
      const { conflict: sides } = fold.read(entity, field, state) as MultiValue<Value>
      if (sides === null) return []
      const seen = keysOf(sides)
      const settle = (choice: Choice): Done =>
        act(kind, entity, field, (at) => {
          const { value, conflict } = at.fold.read(entity, field, at.document) as MultiValue<Value>
          if (conflict === null || keysOf(conflict) !== seen)
            return refusal('conflict_changed', { value, sides: conflict ?? [] })
          if ('value' in choice) return settleAs(at, choice.value)
          const chosen = sides.find(({ key }) => key === choice.side)
          return chosen === undefined ? refusal('no_side', { sides }) : settleAs(at, chosen.value)
        })
      return [{ entity, field, since: sinceOf(sides), sides, settle }]
    }),
  )
}

const keysOf = (sides: readonly Side[]): string =>
  sides
    .map(({ key }) => key)
    .sort()
    .join(' ')
