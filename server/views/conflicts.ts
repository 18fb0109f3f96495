/**
 * One field that can be in conflict, as its document says it now, and what settles it. From the log, not from rows: rows follow, and who
 * settles must be told of the sides that there are.
 *
 *   read the document ─▶ fold ─┬─ the sides are those that were seen ─▶ the fact that settles, as an update
 *                              ├─ this very settlement is there       ─▶ nothing to do
 *                              └─ else                                ─▶ the sides that there are now
 *
 * - The fact is its subject's, like any other, and goes into the log by the way of all updates: nothing here writes.
 * - A field that no facts make (`from`) is settled by an assignment instead, as any replica would make it, by an author that is made
 *   in the same way.
 * - Its actor is made of what is settled by whom. So whoever asks again comes to the same actor, and finds that it has settled already;
 *   a random one would settle twice, of which the second is a conflict with nobody. An actor that is somebody else's by chance is
 *   passed over.
 */
import { createHash } from 'node:crypto'
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter, FactsAdapter } from '../../core/domain/adapter.ts'
import { registration, written } from '../../core/domain/facts/author.ts'
import { isAssignment, isRefusal } from '../../core/domain/facts/draft.ts'
import { actorLength, type Fact, factsRoot, keyOf } from '../../core/domain/facts/fact.ts'
import { effective, type Outcome } from '../../core/domain/facts/outcome.ts'
import { isoOf, type ToldSide, toldSide } from '../../core/domain/fields/columns.ts'
import type { DocumentFold } from '../../core/domain/fold/document-fold.ts'
import { fieldsOf } from '../../core/domain/fold/fields.ts'
import type { AnyKind } from '../../core/domain/fold/kind.ts'
import { keyIn, sidesAt } from '../../core/domain/kinds/concurrent-values.ts'
import { type MultiValue, settleOf, sideOf, sinceOf } from '../../core/domain/kinds/multi-value.ts'
import type { Engine } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import type { State, Value } from '../../core/engine/live-document.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Log } from '../log/log.ts'
import { LiveDocuments } from './live-documents.ts'
import type { Watched } from './watched.ts'

/** Which field. Without an adapter: the first that has it. */
export interface FieldAt {
  readonly document: DocumentId
  readonly adapter: string | null
  readonly entity: string
  readonly field: string
}

export type Choice = { readonly side: string } | { readonly value: Value }

export interface Settling {
  readonly at: FieldAt
  /** Keys of the sides that were seen. */
  readonly seen: readonly string[]
  readonly choice: Choice
  /** Who settles. */
  readonly subject: string
  readonly nowMs: number
}

/** Times in ISO 8601. */
export interface FieldFound {
  readonly document: string
  readonly adapter: string
  readonly entity: string
  readonly field: string
  readonly since: string | null
  readonly roles: readonly string[]
  readonly value: Value
  /** Two or more: a conflict. */
  readonly sides: readonly ToldSide[]
  /** What was replaced, latest first. */
  readonly earlier: readonly (ToldSide & { readonly by: string | null })[]
}

export type Settled =
  /** The sides are others. */
  | { readonly changed: FieldFound }
  | {
      readonly key: string
      readonly value: Value
      readonly outcome: Outcome
      /** To be appended under this name, once. Null: it is there. */
      readonly update: Uint8Array<ArrayBuffer> | null
      readonly name: string
    }

export interface ConflictsParts {
  readonly log: Pick<Log, 'load'>
  readonly adapters: readonly Adapter[]
  readonly watched: Pick<Watched, 'begin' | 'end'>
}

const earlierMax = 100
/** Of actors that are made of one settlement. */
const attemptsMax = 8

interface Opened {
  readonly at: FieldAt
  readonly adapter: Adapter
  readonly facts: FactsAdapter
  /** Of multiValue. */
  readonly kind: AnyKind
  readonly fold: DocumentFold
  readonly state: State
  readonly engine: Engine
  readonly lineage: number
}

/** Rejects with `not_found`, `document_removed`, and as `Log.load`. */
export async function fieldFound(at: FieldAt, parts: ConflictsParts): Promise<FieldFound> {
  return open(at, parts, found)
}

/** Rejects also with `invalid_request`: a side that is none, or a value that the field does not take. */
export async function settle(settling: Settling, parts: ConflictsParts): Promise<Settled> {
  return open(settling.at, parts, (opened) => settleIn(opened, settling))
}

function settleIn(opened: Opened, settling: Settling): Settled {
  const { fold, state, kind, facts, engine } = opened
  const { at, subject, choice, nowMs } = settling
  const { entity, field } = at
  const seen = [...new Set(settling.seen)].sort()
  const { actor, name, replica, before } = identify(opened, settling, seen)
  if (before !== null) return { ...before, update: null, name }
  const { conflict } = fold.read(entity, field, state) as MultiValue<Value>
  const keys = (conflict ?? []).map(({ key }) => key).sort()
  if (conflict === null || keys.join(' ') !== seen.join(' ')) return { changed: found(opened) }
  const chosen = 'side' in choice ? conflict.find(({ key }) => key === choice.side) : choice
  if (chosen === undefined) throw new TidemarkError('invalid_request', '`side` is none of those in `seen`')
  const { value } = chosen
  const draft = settleOf(kind)!({ fold, entity, field, actor, nowMs, document: state }, value)
  if (isRefusal(draft)) throw new TidemarkError('invalid_request', `This cannot be done: ${draft.reason}`)
  if (isAssignment(draft)) {
    const { id, update } = state.map(draft.map).assignment!(draft.key, value, name)
    return { key: id, value, outcome: effective, update: new Uint8Array(update), name }
  }
  if (!kind.operations['settle']!.isPayload(draft.payload))
    throw new TidemarkError('invalid_request', 'The field does not take this value')
  const { version = 1 } = facts.fields
  const fact = written(fold, actor, 1, { ...draft, ...(version !== 1 && { version }) })
  const entries = [registration(actor, subject), fact]
  const updates = entries.map(({ key, value }, i) =>
    engine.entry(factsRoot, key, value!, { replica, written: i }),
  )
  fold.apply(entries)
  const { outcome } = fold.fact(fact.key)!
  const update = new Uint8Array(engine.merge(updates))
  return { key: fact.key, value, outcome, update, name }
}

/** `use` has the document until it returns. */
async function open<T>(
  at: FieldAt,
  { log, adapters, watched }: ConflictsParts,
  use: (opened: Opened) => T,
): Promise<T> {
  const { document, entity, field } = at
  const chosen = adapters.flatMap((adapter) => {
    const isAsked = at.adapter === null || at.adapter === adapter.name
    if (!isAsked || adapter.facts === null || adapter.contextOf(document) === null) return []
    const own = fieldsOf(adapter.facts.fields, entity)
    const kind = Object.hasOwn(own, field) ? own[field]! : null
    return kind !== null && settleOf(kind) !== null ? [{ adapter, facts: adapter.facts, kind }] : []
  })[0]
  if (chosen === undefined)
    throw new TidemarkError('not_found', 'No adapter has such a field of such documents, of multiValue')
  const documents = new LiveDocuments(log, { documentsMax: 1 })
  try {
    const brought = await documents.bring(document, null)
    if (brought.kind === 'gone') throw gone(brought.progress.offset)
    watched.begin(chosen.adapter.name, document)
    try {
      const { state, engine, progress } = brought
      const fold = chosen.facts.projection.foldOf(state)
      return use({ ...chosen, at, fold, state, engine: engines[engine], lineage: progress.epoch })
    } finally {
      watched.end()
    }
  } finally {
    documents.close()
  }
}

function found({ at, adapter, facts, fold, state, kind }: Opened): FieldFound {
  const { document, entity, field } = at
  const { value, conflict } = fold.read(entity, field, state) as MultiValue<Value>
  const own = fold.facts(entity).filter((fact) => isOf(fact, field))
  const told = (fact: Fact): ToldSide => toldSide(sideOf(fact, fold.subjectOf(fact.actor) ?? ''))
  const earlier = own.filter(({ outcome }) => outcome.status === 'superseded').slice(-earlierMax)
  const current = own.filter(({ outcome }) => outcome.status === 'effective')
  const kept = kind.from === undefined ? null : sidesAt(kind.from, { entity, field, document: state })
  return {
    document,
    adapter: adapter.name,
    entity,
    field,
    since: conflict === null ? null : isoOf(sinceOf(conflict)),
    roles: facts.projection.rolesOf(entity, field),
    value,
    sides: conflict?.map(toldSide) ?? kept?.map(toldSide) ?? current.map(told),
    earlier: earlier.reverse().map((fact) => ({ ...told(fact), by: fact.outcome.by ?? null })),
  }
}

interface Settler {
  readonly actor: string
  readonly replica: number
  /** Under which it is appended once; and the author of an assignment. */
  readonly name: string
  /** What settled just this. */
  readonly before: { readonly key: string; readonly value: Value; readonly outcome: Outcome } | null
}

function identify(
  { fold, state, kind, lineage, adapter }: Opened,
  { at: { document, entity, field }, choice, subject }: Settling,
  seen: readonly string[],
): Settler {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const parts = [lineage, document, adapter.name, entity, field, seen, choice, subject, attempt]
    const hash = createHash('sha256').update(JSON.stringify(parts)).digest()
    const settler = { actor: actorOf(hash), replica: hash.readUInt32BE(8), name: hash.toString('hex', 16) }
    if (kind.from !== undefined) {
      const { map } = kind.from
      const assigned = state.map(map).assignedBy?.(keyIn(kind.from, entity, field), settler.name) ?? null
      const before = assigned && { key: assigned.id, value: assigned.value, outcome: effective }
      return { ...settler, before }
    }
    const whose = fold.subjectOf(settler.actor)
    if (whose === null) return { ...settler, before: null }
    const fact = fold.fact(keyOf(settler.actor, 1))
    if (whose === subject && fact?.entity === entity && fact.type === `${field}.settle`)
      return { ...settler, before: { key: fact.key, value: valueIn(fact), outcome: fact.outcome } }
  }
  throw new TidemarkError('overloaded', 'There is no actor left for this')
}

function actorOf(hash: Buffer): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'
  let number = hash.readUIntBE(0, 6)
  let actor = ''
  for (let i = 0; i < actorLength; i++) {
    actor += letters[number % letters.length]
    number = Math.floor(number / letters.length)
  }
  return actor
}

const valueIn = ({ payload }: Fact): Value => (payload as { readonly value: Value }).value

const isOf = ({ type, isDecision }: Fact, field: string): boolean =>
  !isDecision && (type === `${field}.set` || type === `${field}.settle`)

const gone = (offset: number): TidemarkError =>
  offset === 0
    ? new TidemarkError('not_found', 'There is no such document')
    : new TidemarkError('document_removed', 'The document was deleted')
