/**
 * Writes facts as one actor: numbers them, and names what it saw. What it makes is given to the document by somebody else; until
 * then the next one has the same number.
 */
import type { Value } from '../../engine/live-document.ts'
import type { DocumentFold, FactEntry } from '../fold/document-fold.ts'
import type { Decision } from '../fold/kind.ts'
import {
  actorType,
  decisionKeyOf,
  decisionType,
  dependenciesMax,
  encodeFact,
  type Fact,
  type FactKey,
  type FactParts,
  isActor,
  keyOf,
  server,
} from './fact.ts'

export type NewFact = Pick<FactParts, 'entity' | 'type' | 'payload' | 'version' | 'epoch' | 'roles'> & {
  /** Facts that its payload is about: it names them as seen if there is no room for all that its author saw. */
  readonly about?: readonly FactKey[]
}

/** Which says whose the actor is. Its first fact. */
export function registration(actor: string, subject: string): FactEntry {
  if (!isActor(actor)) throw new RangeError(`"${actor}" is no actor: six of a to z and 0 to 9`)
  return entry(keyOf(actor, 0), { entity: '', type: actorType, payload: subject })
}

/** The actor's fact number `seq`, about what `fold` has. */
export function written(fold: DocumentFold, actor: string, seq: number, fact: NewFact): FactEntry {
  const { entity, epoch = fold.epoch(entity), about } = fact
  return entry(keyOf(actor, seq), { ...fact, epoch, dependencies: seenBy(fold, entity, actor, about) })
}

/** The server's decision on an intent, about what `fold` has. */
export function decided(fold: DocumentFold, intent: Fact, decision: Decision): FactEntry {
  return entry(decisionKeyOf(intent.key), {
    entity: intent.entity,
    type: decisionType,
    payload: decision as object as Value,
    dependencies: seenBy(fold, intent.entity, server).filter((key) => key !== intent.key),
  })
}

/** The last seq of each actor in an entity, for decisions that look back. */
export function seenOf(fold: DocumentFold, entity: string): Record<string, number> {
  const seen: Record<string, number> = {}
  for (const { actor, seq, isDecision } of fold.facts(entity))
    if (!isDecision && seq > (seen[actor] ?? -1)) seen[actor] = seq
  return seen
}

function seenBy(
  fold: DocumentFold,
  entity: string,
  actor: string,
  about: readonly FactKey[] = [],
): FactKey[] {
  const isOther = (key: FactKey): boolean => actor === server || !key.startsWith(`${actor}:`)
  const heads = fold.latest(entity).map(({ key }) => key)
  const others = heads.filter(isOther)
  if (others.length <= dependenciesMax) return others
  return [...new Set([...about.filter(isOther), ...others])].slice(0, dependenciesMax)
}

const entry = (key: FactKey, parts: FactParts): FactEntry => ({ key, value: encodeFact(parts), intact: true })
