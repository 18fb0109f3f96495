/**
 * Facts as they stand in a document: entries of the map `facts`, each written once, by its actor (or, for a decision, by the
 * server). ARCHITECTURE.md, "Domain merge", has the reasons and the bytes.
 *
 *   "k3x9a2:0"    ["", "@actor", "ann"]                         whose actor k3x9a2 is
 *   "k3x9a2:1"    ["", "price.set", 4200]                       the document itself, no dependency but its own last
 *   "k3x9a2:2"    ["lines/7", "count.add", 5, "p0q1r2:4"]       an entity in it, having seen p0q1r2's fourth
 *   "k3x9a2:3"    ["", "state.accept", {…}, "", 1, 0, ["seller"]]  an intent, as a seller
 *   "@k3x9a2:1"   ["", "@", {"accepted": true, "by": "…"}]      the decision on k3x9a2:1
 *
 * Everything here was written by a client, so nothing is taken for granted: what is not as above is no fact, says why, and is
 * the same for every replica.
 */
import type { Value } from '../../engine/live-document.ts'
import { type Outcome, unfolded } from './outcome.ts'

export const factsRoot = 'facts'
/** Facts one names as seen; who saw more names the latest. */
export const dependenciesMax = 64
export const entityLengthMax = 200
/** In which one acts at once. */
export const rolesMax = 16
export const seqMax = 2 ** 31 - 1
/** Of the fact that says whose an actor is. */
export const actorType = '@actor'
export const decisionType = '@'
/** Of decisions. */
export const server = '@'

/** `actor:seq`, or `@actor:seq` for the decision on that. */
export type FactKey = string

export interface FactParts {
  /** '' is the document itself, `lines/7` an entity in it. */
  readonly entity: string
  /** `field.operation`, `@actor` or `@`. */
  readonly type: string
  readonly payload: Value
  /** Heads of the entity that its author saw, without those of its own. */
  readonly dependencies?: readonly FactKey[]
  /** Of the adapter that wrote it. Default 1. */
  readonly version?: number
  /** Of the entity's owner, as its author knew it. Default 0. */
  readonly epoch?: number
  /** Of intents: in which roles their author acts. The door lets only those in that the author has. Default none. */
  readonly roles?: readonly string[]
}

/** Belongs to one fold, which sets `lamport`, `outcome` and `isForeign`, and `actor` to an equal text. */
export class Fact implements Required<FactParts> {
  readonly key: FactKey
  /** `@` for a decision. */
  actor: string
  /** Of a decision, that of its intent. */
  readonly seq: number
  readonly entity: string
  readonly type: string
  readonly payload: Value
  /** Keys of its dependencies, with a space between each two: as it is written, since hardly anybody wants a list. */
  readonly seen: string
  readonly version: number
  readonly epoch: number
  readonly roles: readonly string[]
  /** One more than the highest of what it follows. */
  lamport = 0
  outcome: Outcome = unfolded
  /** It says nothing in the version of the adapter that the fold is of. */
  isForeign = false

  constructor(
    key: FactKey,
    actor: string,
    seq: number,
    entity: string,
    type: string,
    payload: Value,
    seen: string,
    version: number,
    epoch: number,
    roles: readonly string[],
  ) {
    this.key = key
    this.actor = actor
    this.seq = seq
    this.entity = entity
    this.type = type
    this.payload = payload
    this.seen = seen
    this.version = version
    this.epoch = epoch
    this.roles = roles
  }

  /** For another fold; not folded yet. */
  copy(): Fact {
    const copy = this.translated(this.type, this.payload)
    copy.lamport = this.lamport
    copy.isForeign = this.isForeign
    return copy
  }

  /** The same fact, as another version says it. */
  translated(type: string, payload: Value): Fact {
    const { key, actor, seq, entity, seen, version, epoch, roles } = this
    return new Fact(key, actor, seq, entity, type, payload, seen, version, epoch, roles)
  }

  get dependencies(): readonly FactKey[] {
    return this.seen === '' ? none : this.seen.split(' ')
  }

  get isDecision(): boolean {
    return this.actor === server
  }

  /** Of a decision: the intent that it is about. */
  get intent(): FactKey {
    return this.key.slice(1)
  }
}

const none: readonly string[] = []

export const keyOf = (actor: string, seq: number): FactKey => `${actor}:${seq}`
export const decisionKeyOf = (intent: FactKey): FactKey => server + intent

export interface ParsedKey {
  readonly actor: string
  readonly seq: number
  readonly isDecision: boolean
}

/** Null for what no fact can be called. */
export function parseKey(key: string): ParsedKey | null {
  const isDecision = isDecisionKey(key)
  const from = isDecision ? 1 : 0
  const seq = seqIn(key, from, key.length)
  return seq === -1 ? null : { actor: key.slice(from, from + actorLength), seq, isDecision }
}

export const actorLength = 6
const colon = 0x3a

export const isDecisionKey = (text: string, from = 0): boolean => text.charCodeAt(from) === 0x40

/** Of the `actor:seq` between these places of a text; -1 when there is none. */
export function seqIn(text: string, from: number, to: number): number {
  const first = from + actorLength + 1
  const digits = to - first
  if (digits < 1 || digits > 10 || text.charCodeAt(first - 1) !== colon) return -1
  for (let i = from; i < first - 1; i++) if (!isActorLetter(text.charCodeAt(i))) return -1
  let seq = 0
  for (let i = first; i < to; i++) {
    const digit = text.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return -1
    seq = seq * 10 + digit
  }
  return seq > seqMax || (digits > 1 && text.charCodeAt(first) === 0x30) ? -1 : seq
}

export function isActor(text: string): boolean {
  if (text.length !== actorLength) return false
  for (let i = 0; i < actorLength; i++) if (!isActorLetter(text.charCodeAt(i))) return false
  return true
}

const isActorLetter = (code: number): boolean =>
  (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39)

/** The value to write under its key. */
export function encodeFact({
  entity,
  type,
  payload,
  dependencies = [],
  version = 1,
  epoch = 0,
  roles = none,
}: FactParts): Value {
  const all = [entity, type, payload, dependencies.join(' '), version, epoch, roles]
  if (roles.length === 0) all.pop()
  const empty = [undefined, undefined, undefined, '', 1, 0, undefined]
  let length = all.length
  while (length > 3 && all[length - 1] === empty[length - 1]) length--
  return all.slice(0, length)
}

/** The fact, or why it is none. */
export function decodeFact(key: string, value: Value): Fact | string {
  const isDecision = isDecisionKey(key)
  const from = isDecision ? 1 : 0
  const seq = seqIn(key, from, key.length)
  if (seq === -1) return 'its key is not actor:seq'
  if (!Array.isArray(value) || value.length < 3 || value.length > 7) return 'it is not a list of 3 to 7'
  // By index: taking a list apart asks its iterator, which costs as much as all the rest.
  const list = value as readonly Value[]
  const entity = list[0]
  const type = list[1]
  const payload = list[2]!
  const { length } = list
  const seen = length > 3 ? list[3]! : ''
  const version = length > 4 ? list[4]! : 1
  const epoch = length > 5 ? list[5]! : 0
  const roles: Value = length > 6 ? list[6]! : none
  if (typeof entity !== 'string' || entity.length > entityLengthMax) return 'its entity is not a text'
  if (typeof type !== 'string') return 'its type is not a text'
  if (!isCount(version) || version === 0) return 'its version is not a number from 1'
  if (!isCount(epoch)) return 'its epoch is not a number from 0'
  if (!isRoles(roles)) return `its roles are not at most ${rolesMax} texts`
  if (typeof seen !== 'string') return 'its dependencies are not a text'
  if (seen !== '') {
    const problem = problemWith(seen, key)
    if (problem !== null) return problem
  }
  if (isDecision !== (type === decisionType)) return 'a decision has the key of one, and nothing else has'
  const isFirst = seq === 0 && !isDecision
  if (isFirst !== (type === actorType)) return 'an actor begins with whose it is'
  if (isFirst && (typeof payload !== 'string' || entity !== '')) return 'an actor belongs to a subject'
  const actor = isDecision ? server : key.slice(0, actorLength)
  return new Fact(key, actor, seq, entity, type, payload, seen, version, epoch, roles)
}

function problemWith(seen: string, key: FactKey): string | null {
  let count = 0
  for (let from = 0; from <= seen.length; count++) {
    const end = keyEnd(seen, from)
    if (seqIn(seen, isDecisionKey(seen, from) ? from + 1 : from, end) === -1) return 'a dependency is no key'
    if (end - from === key.length && seen.startsWith(key, from)) return 'it depends on itself'
    from = end + 1
  }
  return count > dependenciesMax ? `it has more than ${dependenciesMax} dependencies` : null
}

/** Where the key that begins at `from` ends. */
export function keyEnd(seen: string, from: number): number {
  const space = seen.indexOf(' ', from)
  return space === -1 ? seen.length : space
}

const isRoles = (value: Value): value is readonly string[] =>
  Array.isArray(value) && value.length <= rolesMax && value.every((role) => typeof role === 'string')

const isCount = (value: Value): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= seqMax

/** Negative: `a` is folded before `b`. Causes come before effects; else it is as good as arbitrary, and the same everywhere. */
export function compareFacts(a: Fact, b: Fact): number {
  if (a.lamport !== b.lamport) return a.lamport - b.lamport
  if (a.actor !== b.actor) return a.actor < b.actor ? -1 : 1
  if (a.seq !== b.seq) return a.seq - b.seq
  return a.key < b.key ? -1 : a.key === b.key ? 0 : 1
}
