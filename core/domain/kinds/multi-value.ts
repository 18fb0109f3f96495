/**
 * One value, of which concurrent ones are all kept: a conflict, until a person settles it.
 *
 *   price.set      {"value": 4200}                             the first, or after one's own
 *   price.set      {"value": 4100, "replaces": "k3x9a2:4"}     after somebody else's
 *   price.settle   {"value": 4150, "replaces": ["k3x9a2:4"]}   of several that did not know of each other
 *
 * - A write replaces its actor's own value, which goes without saying, and those that it names. So an actor has at most one that
 *   is current, and another's goes only when somebody has seen it: nothing is lost by arriving late.
 * - `set` names at most one, so nobody settles a conflict unawares. `settle` names all that its author saw; two concurrent
 *   settlements do not name each other, and conflict anew.
 * - What was replaced is superseded, and stays in the document as it was.
 * - A write may say when it was made (`"time": 1764000000000`), by the clock of whoever made it. People want to know when they compare two
 *   sides; nothing is decided by it (P6).
 *
 * Rejected: to take all that a write depends on as replaced. Heads say what was seen of an entity, not of a field, and to walk
 * the graph at every write would cost what the entity is long.
 */
import type { Value } from '../../engine/live-document.ts'
import { type Assignment, type Draft, refusal } from '../facts/draft.ts'
import { actorLength, dependenciesMax, type Fact, type FactKey, parseKey } from '../facts/fact.ts'
import { effective } from '../facts/outcome.ts'
import { type AnyKind, type At, type From, type Kind, operation } from '../fold/kind.ts'
import { concurrentValues } from './concurrent-values.ts'

/** Others' values that one settlement can name; of more it settles the first. */
export const sidesMax = dependenciesMax

export interface MultiValue<T> {
  /** While in conflict: the first in order, as good as any. */
  readonly value: T | null
  readonly conflict: readonly Side<T>[] | null
}

export interface Side<T> {
  readonly value: T
  readonly actor: string
  readonly subject: string
  readonly key: FactKey
  /** Milliseconds since 1970, by the clock of who wrote it; null where it does not say. */
  readonly at: number | null
}

export type Settle = (at: At, value: Value) => Draft | Assignment

/** Null: a field of that kind is never in conflict. */
export function settleOf({ name, mutators, assigners }: AnyKind): Settle | null {
  return name === 'multiValue' ? ((assigners ?? mutators)?.['settle'] as Settle) : null
}

export interface MultiValueState {
  /** By actor, in the order of their facts. */
  readonly current: Map<string, { readonly fact: Fact; readonly subject: string }>
}

/** Values that facts write; each passes `isValue`, or does not count. */
export function multiValue<T extends Value = Value>(
  isValue?: (value: Value) => boolean,
): ReturnType<typeof writtenValues<T>>
/** Values of a key of a root map: concurrent-values.ts. */
export function multiValue<T extends Value = Value>(options: {
  readonly from: From
}): ReturnType<typeof concurrentValues<T>>
export function multiValue(options?: ((value: Value) => boolean) | { readonly from: From }): AnyKind {
  return typeof options === 'object' ? concurrentValues(options.from) : writtenValues(options)
}

function writtenValues<T extends Value = Value>(isValue: (value: Value) => boolean = () => true) {
  const isWrite = (payload: Value): payload is { readonly [name: string]: Value } =>
    isObject(payload) &&
    Object.hasOwn(payload, 'value') &&
    isValue(payload['value']!) &&
    isTime(payload['time'])
  return {
    name: 'multiValue',
    operations: {
      set: operation(
        'free',
        (payload) => isWrite(payload) && (payload['replaces'] === undefined || isKey(payload['replaces'])),
      ),
      settle: operation('free', (payload) => isWrite(payload) && isKeys(payload['replaces'])),
    },
    mutators: {
      /** Refused while there is a conflict. */
      set({ fold, entity, field, actor, nowMs }: At, value: T): Draft {
        const sides = sidesOf<T>(fold.state(entity, field) as MultiValueState)
        if (sides.length > 1) return refusal('conflict', { sides })
        const [replaces] = othersOf(sides, actor)
        const payload = { value, ...(replaces !== undefined && { replaces }), ...timeOf(nowMs) }
        return { entity, type: `${field}.set`, payload, about: replaces === undefined ? [] : [replaces] }
      },
      /** With any value: one side's, or a third. Refused while there is no conflict. */
      settle({ fold, entity, field, actor, nowMs }: At, value: T): Draft {
        const sides = sidesOf<T>(fold.state(entity, field) as MultiValueState)
        if (sides.length < 2) return refusal('no_conflict', { value: sides[0]?.value ?? null })
        const replaces = othersOf(sides, actor)
        return {
          entity,
          type: `${field}.settle`,
          payload: { value, replaces, ...timeOf(nowMs) },
          about: replaces,
        }
      },
    },
    create: () => ({ current: new Map() }),
    apply({ current }, _operation, fact, context) {
      const { replaces = [] } = fact.payload as { readonly replaces?: FactKey | readonly FactKey[] }
      const replace = (actor: string, key: FactKey | null): void => {
        const replaced = current.get(actor)?.fact
        if (replaced === undefined || (key !== null && replaced.key !== key)) return
        current.delete(actor)
        context.settle(replaced, { status: 'superseded', by: fact.key })
      }
      replace(fact.actor, null)
      for (const key of typeof replaces === 'string' ? [replaces] : replaces)
        replace(key.slice(0, actorLength), key)
      current.set(fact.actor, { fact, subject: context.subjectOf(fact.actor) })
      context.settle(fact, effective)
    },
    read(state): MultiValue<T> {
      const sides = sidesOf<T>(state)
      return { value: sides[0]?.value ?? null, conflict: sides.length > 1 ? sides : null }
    },
  } satisfies Kind<MultiValueState, MultiValue<T>>
}

function sidesOf<T>({ current }: MultiValueState): Side<T>[] {
  return [...current.values()].map(({ fact, subject }) => sideOf(fact, subject) as Side<T>)
}

interface Written {
  readonly value: Value
  readonly time?: number
}

/** What a fact of such a field wrote; its payload was checked. */
export function sideOf({ key, actor, payload }: Fact, subject: string): Side<Value> {
  const { value, time = null } = payload as object as Written
  return { value, actor, subject, key, at: time }
}

/** Since when there are two of them, as far as they say. */
export function sinceOf(sides: readonly Pick<Side<unknown>, 'at'>[]): number | null {
  const times = sides.flatMap(({ at }) => at ?? []).sort((a, b) => a - b)
  return times[1] ?? null
}

const timeOf = (nowMs: number | undefined): { readonly time?: number } =>
  nowMs === undefined ? {} : { time: Math.floor(nowMs) }

/** What `Date` has at most; SQL has more. */
const timeMsMax = 8_640_000_000_000_000
const isTime = (time: Value | undefined): boolean =>
  time === undefined || (Number.isInteger(time) && (time as number) >= 0 && (time as number) <= timeMsMax)

const othersOf = (sides: readonly Side<unknown>[], actor: string): FactKey[] =>
  sides.flatMap((side) => (side.actor === actor ? [] : [side.key])).slice(0, sidesMax)

const isKeys = (value: Value | undefined): boolean =>
  Array.isArray(value) && value.length > 0 && value.length <= sidesMax && value.every(isKey)

const isKey = (value: Value): boolean => typeof value === 'string' && parseKey(value) !== null

const isObject = (value: Value): value is { readonly [name: string]: Value } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
