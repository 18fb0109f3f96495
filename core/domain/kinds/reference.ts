/**
 * A register of another document's id, or of none. Whether that document is there is no question for a fold, which knows only
 * its own; SQL answers it, with the column that `to` says what it points to.
 */
import { parseDocumentId } from '../../document-id.ts'
import type { Value } from '../../engine/live-document.ts'
import { parsePattern } from '../document-pattern.ts'
import { type Draft, refusal } from '../facts/draft.ts'
import type { At, Kind } from '../fold/kind.ts'
import { type RegisterState, register } from './register.ts'

/** `to` is a pattern as in adapters, `harvests/:id`. Throws an `Error` that says what is wrong with it. */
export function reference<const To extends string>(to: To) {
  const pattern = parsePattern(to)
  const isTarget = (value: Value): boolean =>
    value === null || (typeof value === 'string' && pattern.match(value) !== null && isDocumentId(value))
  const { operations, create, apply, read } = register<string>(isTarget)
  return {
    name: 'reference',
    to,
    operations,
    mutators: {
      set: ({ entity, field }: At, target: string | null): Draft =>
        isTarget(target)
          ? { entity, type: `${field}.set`, payload: target }
          : refusal('malformed_payload', { to }),
    },
    create,
    apply,
    read,
  } satisfies Kind<RegisterState, string | null> & { to: To }
}

function isDocumentId(text: string): boolean {
  try {
    parseDocumentId(text)
    return true
  } catch {
    // What is wrong with it is of no use to a fold.
    return false
  }
}
