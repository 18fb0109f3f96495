/**
 * Elements that are there or not, each once. A removal takes only the additions that its author saw, so what is added
 * meanwhile, elsewhere, stays.
 *
 *   tags.add      "organic"
 *   tags.remove   ["k3x9a2:4", "p0q1r2:1"]   the additions: of one element, by whoever added it
 *
 * Whoever adds what is there already takes the place of the earlier addition of its own; others' stay beside it.
 */
import type { Value } from '../../engine/live-document.ts'
import { type Draft, refusal } from '../facts/draft.ts'
import { dependenciesMax, type Fact, type FactKey, parseKey } from '../facts/fact.ts'
import { effective } from '../facts/outcome.ts'
import { type At, type Kind, operation } from '../fold/kind.ts'

export type SetElement = string | number | boolean

/** Additions that one removal can name; of more it takes the first. */
export const additionsMax = dependenciesMax

export interface SetState {
  /** By element, in the order in which they came to be there; then by actor. None is empty. */
  readonly elements: Map<Value, Map<string, Fact>>
}

const isElement = (value: Value): boolean => ['string', 'number', 'boolean'].includes(typeof value)

const isRemoval = (payload: Value): boolean =>
  Array.isArray(payload) &&
  payload.length > 0 &&
  payload.length <= additionsMax &&
  payload.every((key) => typeof key === 'string' && parseKey(key) !== null)

export function set<T extends SetElement = string>(isValue: (value: Value) => boolean = () => true) {
  const stateOf = ({ fold, entity, field }: At): SetState => fold.state(entity, field) as SetState
  return {
    name: 'set',
    operations: {
      add: operation('free', (payload) => isElement(payload) && isValue(payload)),
      remove: operation('free', isRemoval),
    },
    mutators: {
      add: ({ entity, field }: At, element: T): Draft => ({ entity, type: `${field}.add`, payload: element }),
      remove(at: At, element: T): Draft {
        const { entity, field } = at
        const { elements } = stateOf(at)
        const additions = elements.get(element)
        if (additions === undefined) return refusal('not_there', { elements: [...elements.keys()] })
        const keys = [...additions.values()].map(({ key }) => key).slice(0, additionsMax)
        return { entity, type: `${field}.remove`, payload: keys, about: keys }
      },
    },
    create: () => ({ elements: new Map() }),
    apply({ elements }, name, fact, context) {
      context.settle(fact, effective)
      const leave = (addition: Fact | undefined): void => {
        if (addition !== undefined) context.settle(addition, { status: 'superseded', by: fact.key })
      }
      if (name === 'add') {
        const additions = elements.get(fact.payload) ?? new Map<string, Fact>()
        leave(additions.get(fact.actor))
        elements.set(fact.payload, additions.set(fact.actor, fact))
        return
      }
      for (const key of fact.payload as readonly FactKey[]) {
        const addition = context.fact(key)
        const additions = addition && elements.get(addition.payload)
        if (additions === undefined || additions.get(addition!.actor) !== addition) continue
        leave(addition)
        additions.delete(addition!.actor)
        if (additions.size === 0) elements.delete(addition!.payload)
      }
    },
    read: ({ elements }) => [...elements.keys()] as T[],
  } satisfies Kind<SetState, readonly T[]>
}
