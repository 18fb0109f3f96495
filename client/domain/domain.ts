/**
 * A document of facts, for an app: its fields with what one may do to them, what became of what one did, and what the others say.
 *
 *   const deal = openDomain(handle, deals, { actor, subject: 'ann', roles: ['buyer'] })
 *   deal.fields.quantity.do.take(5)            at once, or refused with what is possible
 *   deal.fields.state.do.move('accept')        an intent: pending, until the server decides
 *   deal.fields.state.value                    what holds
 *   deal.fields.state.expected                 the same, as if one's own pending intents were accepted
 *
 * - Everything works offline. What is written is an edit of the document like any other: `handle.pending` and `handle.saved()`
 *   count it.
 * - `expected` is the optimistic overlay: it is computed from the facts and the rules that the server judges by, so when an intent is
 *   rejected there is nothing to undo; it is just not expected any more.
 * - The document must be loaded (`handle.whenLoaded`) before anything is written: else an actor would use a number twice.
 */
import type * as Y from 'yjs'
import { decided, registration, written } from '../../core/domain/facts/author.ts'
import {
  type Assignment,
  type Draft,
  isAssignment,
  isRefusal,
  type Refusal,
} from '../../core/domain/facts/draft.ts'
import { type Fact, type FactKey, factsRoot, isActor, parseKey } from '../../core/domain/facts/fact.ts'
import { effective, type Outcome } from '../../core/domain/facts/outcome.ts'
import { DocumentFold, type FactEntry, type Report } from '../../core/domain/fold/document-fold.ts'
import {
  entityFrom,
  type FieldFrom,
  type Fields,
  type FieldsOfDocument,
  fieldsFrom,
} from '../../core/domain/fold/fields.ts'
import type { AnyKind, At } from '../../core/domain/fold/kind.ts'
import { Emitter } from '../emitter.ts'
import type { DocumentEntries } from '../entries.ts'
import { type Conflict, conflictsIn } from './conflicts.ts'
import { yjsEntries } from './yjs-entries.ts'

/** The part of a handle that is used. */
export interface DomainHandle {
  readonly doc: Y.Doc
  readonly loaded: boolean
  on(name: 'reset', listener: () => void): () => void
}

/** Of one of another engine's document. */
export interface EntriesHandle extends Omit<DomainHandle, 'doc'> {
  readonly entries: DocumentEntries
}

export interface Acting {
  /** Six of a to z and 0 to 9, of this device and nobody else; see actor.ts. */
  readonly actor: string
  /** Of the token; '' without authentication. */
  readonly subject: string
  /** Of the token: intents say in which of them one acts. */
  readonly roles?: readonly string[]
}

export type Done =
  | { readonly key: FactKey; readonly refusal: null }
  /** Nothing was written. */
  | { readonly key: null; readonly refusal: Refusal }

type Doing<Mutators> = {
  readonly [Name in keyof Mutators]: Mutators[Name] extends (
    at: At,
    ...rest: infer Rest
  ) => Draft | Assignment
    ? (...rest: Rest) => Done
    : never
}
type MutatorsOf<Kind> = Kind extends
  | { readonly mutators: infer Mutators }
  | { readonly assigners: infer Mutators }
  ? Mutators
  : object
type SeenOf<Kind> = Kind extends { read(...rest: never[]): infer Seen } ? Seen : unknown

export interface FieldHandle<Kind> {
  /** What holds. */
  readonly value: SeenOf<Kind>
  readonly expected: SeenOf<Kind>
  readonly do: Doing<MutatorsOf<Kind>>
}

export type FieldHandles<Of extends Fields> = { readonly [Name in keyof Of]: FieldHandle<Of[Name]> }
type CollectionOf<Of extends FieldsOfDocument, Name> = Name extends keyof NonNullable<Of['collections']>
  ? NonNullable<Of['collections']>[Name]
  : never

export interface DomainEvents {
  /** Of these entities something is different; '' is the document itself. */
  change: (entities: ReadonlySet<string>) => void
  /** The outcome of a fact of one's own is another one. */
  outcome: (fact: Fact) => void
}

export class Domain<Of extends FieldsOfDocument> extends Emitter<DomainEvents> {
  readonly fields: FieldHandles<Of['fields']>
  readonly acting: Acting
  private readonly handle: DomainHandle | EntriesHandle
  private readonly definition: Of
  private readonly from: readonly FieldFrom[]
  private fold: DocumentFold
  private entries: DocumentEntries
  private unfollow: () => void
  private readonly stopReset: () => void
  private next = 0
  /** By entity, since the last change: the fold itself where one has no intents of one's own. */
  private overlays = new Map<string, DocumentFold>()
  private waiting = new Map<FactKey, { told: Outcome; readonly settle: ((outcome: Outcome) => void)[] }>()

  constructor(handle: DomainHandle | EntriesHandle, definition: Of, acting: Acting) {
    super()
    if (!isActor(acting.actor)) throw new RangeError('an actor is six of a to z and 0 to 9')
    this.handle = handle
    this.definition = definition
    this.from = fieldsFrom(definition)
    this.acting = acting
    this.fold = new DocumentFold(definition)
    this.entries = entriesOf(handle)
    this.unfollow = this.follow()
    this.stopReset = handle.on('reset', () => this.startAnew())
    this.fields = this.handlesOf('', definition.fields) as FieldHandles<Of['fields']>
  }

  /** Makes one's actor known here, so that others can give it rights before it has written anything. */
  introduce(): void {
    const { actor, subject } = this.acting
    if (this.next === 0 && this.handle.loaded) this.entries.write(factsRoot, [registration(actor, subject)])
  }

  /** Fields of an entity in a collection; it is there once something was written about it. */
  entity<Name extends keyof NonNullable<Of['collections']> & string>(
    collection: Name,
    id: string,
  ): FieldHandles<CollectionOf<Of, Name> & Fields> {
    const fields = this.definition.collections?.[collection] ?? {}
    return this.handlesOf(`${collection}/${id}`, fields) as FieldHandles<CollectionOf<Of, Name> & Fields>
  }

  /** Ids of the entities of a collection, sorted. */
  ids(collection: keyof NonNullable<Of['collections']> & string): string[] {
    const names = this.names().filter((name) => name.startsWith(`${collection}/`))
    return names.map((name) => name.slice(collection.length + 1))
  }

  /** All facts of an entity in their order, with what became of each. */
  facts(entity = ''): readonly Fact[] {
    return this.fold.facts(entity).filter(({ isDecision }) => !isDecision)
  }

  /** Undecided ones, of everybody. */
  intents(): Fact[] {
    return this.fold.names().flatMap((entity) => this.facts(entity).filter(isPending))
  }

  /** Fields of all entities that wait for a person to settle them. */
  conflicts(): readonly Conflict[] {
    const { fold, definition, entries } = this
    return conflictsIn(fold, entries.state, this.names(), definition, (...doing) => this.act(...doing))
  }

  /** Null: there is no such fact here, or it waits for others. */
  outcome(key: FactKey): Outcome | null {
    return this.fold.fact(key)?.outcome ?? null
  }

  /** Resolves with its outcome once it is not pending; for most facts that is at once. */
  settled(key: FactKey): Promise<Outcome> {
    // A value of a map is no fact, and waits for nobody.
    if (parseKey(key) === null) return Promise.resolve(effective)
    const outcome = this.outcome(key)
    if (outcome !== null && outcome.status !== 'pending') return Promise.resolve(outcome)
    return new Promise((resolve) => {
      const waiting = this.waiting.get(key)
      if (waiting === undefined) this.waiting.set(key, { told: outcome ?? unknown, settle: [resolve] })
      else waiting.settle.push(resolve)
    })
  }

  subjectOf(actor: string): string | null {
    return this.fold.subjectOf(actor)
  }

  /** Of all who have written something here, or introduced themselves: by actor, whose it is. */
  actors(): ReadonlyMap<string, string> {
    return this.fold.actors()
  }

  /** Facts that do not count, and why: for developers. */
  reports(): Report[] {
    return [...this.fold.reports(), ...this.fold.waiting()]
  }

  close(): void {
    this.unfollow()
    this.stopReset()
  }

  private handlesOf(entity: string, fields: Fields): Record<string, FieldHandle<AnyKind>> {
    const domain = this
    return Object.fromEntries(
      Object.entries(fields).map(([field, kind]) => {
        const doing = Object.entries({ ...kind.mutators, ...kind.assigners }).map(([name, mutator]) => [
          name,
          (...rest: never[]) => domain.act(kind, entity, field, (at) => mutator(at, ...rest)),
        ])
        const handle: FieldHandle<AnyKind> = {
          get value() {
            return domain.fold.read(entity, field, domain.entries.state)
          },
          get expected() {
            return domain.overlayOf(entity).read(entity, field, domain.entries.state)
          },
          do: Object.fromEntries(doing),
        }
        return [field, handle]
      }),
    )
  }

  private act(kind: AnyKind, entity: string, field: string, draftOf: (at: At) => Draft | Assignment): Done {
    if (!this.handle.loaded) return { key: null, refusal: { reason: 'not_loaded', detail: {} } }
    const { actor, subject, roles = [] } = this.acting
    const document = this.entries.state
    const draft = draftOf({
      fold: this.fold,
      entity,
      field,
      actor,
      subject,
      roles,
      nowMs: Date.now(),
      document,
    })
    if (isRefusal(draft)) return { key: null, refusal: draft }
    if (isAssignment(draft)) return this.assign(draft)
    this.introduce()
    const operation = draft.type.slice(draft.type.indexOf('.') + 1)
    const isIntent = kind.operations[operation]?.consistency === 'decided'
    const { version = 1 } = this.definition
    const fact = { ...draft, ...(version !== 1 && { version }), ...(isIntent && { roles }) }
    const entry = written(this.fold, actor, this.next, fact)
    this.entries.write(factsRoot, [entry])
    return { key: entry.key, refusal: null }
  }

  private assign({ map, key, value }: Assignment): Done {
    this.entries.assign(map, key, value)
    return { key: this.entries.state.map(map).concurrent(key).at(-1)?.id ?? '', refusal: null }
  }

  /** Of entities with facts, and of those that are keys of a map. Sorted. */
  private names(): string[] {
    const names = new Set(this.fold.names())
    for (const field of this.from)
      for (const key of field.collection === '' ? [field.key] : this.entries.state.map(field.map).keys())
        names.add(entityFrom(field, key)!)
    return [...names].sort()
  }

  /** The fold with one's own pending intents of the entity decided as the server would decide them now. */
  private overlayOf(entity: string): DocumentFold {
    const known = this.overlays.get(entity)
    if (known !== undefined) return known
    const own = this.facts(entity).filter((fact) => isPending(fact) && fact.actor === this.acting.actor)
    const overlay = own.length === 0 ? this.fold : this.fold.suppose(entity)
    for (const { key } of own) {
      const intent = overlay.fact(key)!
      const decision = intent.outcome.status === 'pending' ? overlay.judge(intent) : null
      if (decision !== null) overlay.apply([decided(overlay, intent, decision)])
    }
    this.overlays.set(entity, overlay)
    return overlay
  }

  private follow(): () => void {
    const stops = [this.entries.follow(factsRoot, (entries) => this.take(entries))]
    for (const map of new Set(this.from.map(({ map }) => map)))
      stops.push(this.entries.follow(map, (entries) => this.touch(map, entries)))
    return () => {
      for (const stop of stops) stop()
    }
  }

  private touch(map: string, entries: readonly FactEntry[]): void {
    const own = this.from.filter((field) => field.map === map)
    const touched = entries.flatMap(({ key }) => own.flatMap((field) => entityFrom(field, key) ?? []))
    if (touched.length > 0) this.emit('change', new Set(touched))
  }

  private take(entries: readonly FactEntry[]): void {
    const { actor } = this.acting
    for (const { key } of entries) {
      const parsed = key.startsWith(actor) ? parseKey(key) : null
      if (parsed !== null && parsed.seq >= this.next) this.next = parsed.seq + 1
      if (parsed !== null && parsed.seq > 0 && !this.waiting.has(key))
        this.waiting.set(key, { told: unknown, settle: [] })
    }
    const { size } = this.fold.actors()
    const touched = this.fold.apply(entries)
    if (touched.size === 0) {
      // Somebody introduced themselves, and that is all.
      if (this.fold.actors().size > size) this.emit('change', touched)
      return
    }
    this.overlays.clear()
    this.tell()
    this.emit('change', touched)
  }

  private tell(): void {
    for (const [key, waiting] of this.waiting) {
      const fact = this.fold.fact(key)
      if (fact === undefined || fact.outcome === waiting.told) continue
      const isNews = waiting.told !== unknown || fact.outcome.status !== 'effective'
      waiting.told = fact.outcome
      if (isNews && fact.actor === this.acting.actor) this.emit('outcome', fact)
      if (fact.outcome.status === 'pending') continue
      for (const settle of waiting.settle.splice(0)) settle(fact.outcome)
      // What was decided, and what needed no decision, can still be superseded; nobody waits for that.
      if (!fact.isDecision) this.waiting.delete(key)
    }
  }

  private startAnew(): void {
    this.unfollow()
    this.fold = new DocumentFold(this.definition)
    this.entries = entriesOf(this.handle)
    this.next = 0
    this.overlays.clear()
    this.waiting.clear()
    this.unfollow = this.follow()
  }
}

const entriesOf = (handle: DomainHandle | EntriesHandle): DocumentEntries =>
  'entries' in handle ? handle.entries : yjsEntries(handle.doc)

const unknown: Outcome = { status: 'pending', reason: 'unknown' }
const isPending = ({ isDecision, outcome }: Fact): boolean => !isDecision && outcome.status === 'pending'

/** Throws a `RangeError` for what is no actor. */
export function openDomain<const Of extends FieldsOfDocument>(
  handle: DomainHandle | EntriesHandle,
  definition: Of,
  acting: Acting,
): Domain<Of> {
  return new Domain(handle, definition, acting)
}
