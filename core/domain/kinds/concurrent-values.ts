/**
 * A field that is no facts' but a key of a root map, as the engine keeps it: `multiValue({ from: { map: 'deal' } })`.
 *
 *   title                  the key "title" of the map, or `key`
 *   title of lines/7       the key "7" of the map
 *
 * - Where the engine keeps what several wrote who did not know of each other (Automerge), those are the sides of a conflict. Yjs
 *   keeps one of them, so there it is never in conflict.
 * - Settling is an assignment like any other: it takes the place of all that its author saw, and what comes later is a side anew.
 *   Nobody keeps an app from assigning past these rules; then it has settled, unawares or not.
 * - A side's key is the engine's name of the operation that wrote it, its actor whom the engine names; whose that is, and when,
 *   is not known.
 *
 * Rejected: facts that name sides as replaced. There would be two words on one value, and an app that reads the key sees one.
 */
import type { Value } from '../../engine/live-document.ts'
import { type Assignment, type Refusal, refusal } from '../facts/draft.ts'
import type { At, From, Kind, Place } from '../fold/kind.ts'
import type { MultiValue, Side } from './multi-value.ts'

export function concurrentValues<T extends Value = Value>(from: From) {
  const sidesOf = (place: Place): Side<T>[] => sidesAt(from, place) as Side<T>[]
  const assigned = ({ entity, field }: At, value: T): Assignment => ({
    map: from.map,
    key: keyIn(from, entity, field),
    value,
  })
  return {
    name: 'multiValue',
    from,
    operations: {},
    assigners: {
      /** Refused while there is a conflict. */
      set(at: At, value: T): Assignment | Refusal {
        const sides = sidesOf(placeOf(at))
        return sides.length > 1 ? refusal('conflict', { sides }) : assigned(at, value)
      },
      /** With any value: one side's, or a third. Refused while there is no conflict. */
      settle(at: At, value: T): Assignment | Refusal {
        const sides = sidesOf(placeOf(at))
        return sides.length < 2
          ? refusal('no_conflict', { value: sides[0]?.value ?? null })
          : assigned(at, value)
      },
    },
    create: () => null,
    apply() {},
    read(_state, place): MultiValue<T> {
      const sides = sidesOf(place)
      return { value: sides[0]?.value ?? null, conflict: sides.length > 1 ? sides : null }
    },
  } satisfies Kind<null, MultiValue<T>>
}

/** The key that the field of an entity is. */
export const keyIn = (from: From, entity: string, field: string): string =>
  entity === '' ? (from.key ?? field) : entity.slice(entity.indexOf('/') + 1)

/** That which all replicas choose comes first. One, or none: there is no conflict. */
export function sidesAt(from: From, { entity, field, document }: Place): Side<Value>[] {
  const all = document?.map(from.map).concurrent(keyIn(from, entity, field)) ?? []
  return all.toReversed().map(({ id, author, value }) => ({
    value,
    actor: author,
    subject: '',
    key: id,
    at: null,
  }))
}

const placeOf = ({ entity, field, document }: At): Place => ({ entity, field, document: document ?? null })
