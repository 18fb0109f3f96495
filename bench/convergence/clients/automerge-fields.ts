/** The fields of an Automerge document: facts in its map `facts`, which everybody begins with the same change. */
import * as Automerge from '@automerge/automerge'
import type { Done } from '../../../client/domain/domain.ts'
import { registration, written } from '../../../core/domain/facts/author.ts'
import { type Draft, isRefusal } from '../../../core/domain/facts/draft.ts'
import { DocumentFold, type FactEntry } from '../../../core/domain/fold/document-fold.ts'
import type { AnyKind, At } from '../../../core/domain/fold/kind.ts'
import type { Value } from '../../../core/engine/live-document.ts'
import { documentFields } from '../fields.ts'
import type { FieldsInUse } from './field-work.ts'

export type Facts = Record<string, unknown>

export class AutomergeFields {
  readonly fields: FieldsInUse
  private readonly fold = new DocumentFold(documentFields)
  private readonly actor: string
  private readonly known = new Set<string>()
  private next = 0
  /** Of the change that is being made. */
  private facts: Facts | null = null

  constructor(actor: string) {
    this.actor = actor
    const handles = Object.entries(documentFields.fields).map(([name, kind]) => [
      name,
      this.handleOf(name, kind as AnyKind),
    ])
    this.fields = Object.fromEntries(handles) as FieldsInUse
  }

  /** What has come to them. An entry of the server's may turn out to be written twice. */
  take(facts: Facts): void {
    const fresh: FactEntry[] = []
    for (const key of Object.keys(facts)) {
      if (this.known.has(key) && !key.startsWith('@')) continue
      const intact = Object.keys(Automerge.getConflicts(facts as Automerge.Doc<Facts>, key) ?? {}).length < 2
      if (this.known.has(key) && intact) continue
      this.known.add(key)
      fresh.push({ key, value: plain(facts[key]) as Value, intact })
    }
    this.fold.apply(fresh)
  }

  /** Facts that `work` writes go into `facts`, of a change that is being made. */
  within<Result>(facts: Facts, work: () => Result): Result {
    this.facts = facts
    try {
      return work()
    } finally {
      this.facts = null
    }
  }

  /** Makes the actor known, so that others can give it rights. */
  introduce(facts: Facts): void {
    if (this.next === 0) this.within(facts, () => this.put(registration(this.actor, '')))
  }

  undecided(): number {
    const facts = this.fold.names().flatMap((entity) => this.fold.facts(entity))
    return facts.filter(({ isDecision, outcome }) => !isDecision && outcome.status === 'pending').length
  }

  private handleOf(field: string, kind: AnyKind) {
    const { fold } = this
    const mutators = Object.entries(kind.mutators ?? {}).map(([name, mutator]) => [
      name,
      (...rest: never[]) => this.act(kind, field, (at) => mutator(at, ...rest)),
    ])
    return {
      get value() {
        return fold.read('', field)
      },
      do: Object.fromEntries(mutators),
    }
  }

  private act(kind: AnyKind, field: string, draftOf: (at: At) => unknown): Done {
    const { fold, actor } = this
    // These fields live in facts alone.
    const at = { fold, entity: '', field, actor, subject: '', roles: [], nowMs: Date.now() }
    const draft = draftOf(at) as Draft
    if (isRefusal(draft)) return { key: null, refusal: draft }
    const operation = draft.type.slice(draft.type.indexOf('.') + 1)
    const isIntent = kind.operations[operation]?.consistency === 'decided'
    const entry = written(fold, actor, this.next, { ...draft, ...(isIntent && { roles: [] }) })
    this.put(entry)
    return { key: entry.key as never, refusal: null }
  }

  private put(entry: FactEntry): void {
    this.facts![entry.key] = entry.value
    this.known.add(entry.key)
    this.fold.apply([entry])
    this.next++
  }
}

/** What the server wrote has strings of another kind. */
export function plain(value: unknown): unknown {
  if (value instanceof Automerge.ImmutableString) return value.toString()
  if (value instanceof Automerge.Counter) return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, plain(of)]))
}
