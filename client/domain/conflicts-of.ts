/** Conflicts of all documents that the token may read, from the server; `Domain.conflicts()` has those of an open one, offline too. */
import type { FactKey } from '../../core/domain/facts/fact.ts'
import type { Outcome } from '../../core/domain/facts/outcome.ts'
import type { Value } from '../../core/engine/live-document.ts'
import { TidemarkError } from '../../core/protocol/error-codes.ts'
import { type Asker, answerOf, errorOf, type Problem } from '../asking.ts'
import type { Client } from '../types.ts'
import type { Choice, Side } from './conflicts.ts'

export interface ConflictFound {
  readonly document: string
  readonly adapter: string
  readonly entity: string
  readonly field: string
  readonly since: number | null
  /** Whose business it is; empty: anybody's who may write. */
  readonly roles: readonly string[]
  /** Empty in a list where they are more than 64 KiB: read that one. */
  readonly sides: readonly Side[]
}

export interface FieldFound extends ConflictFound {
  readonly value: Value
  /** What was replaced, and by which fact: the latest 100, latest first. */
  readonly earlier: readonly (Side & { readonly by: FactKey | null })[]
}

export interface ListOptions {
  readonly adapter?: string
  /** What ids of documents begin with. */
  readonly prefix?: string
  /** Those that it is asked to settle: that name it, or name none. */
  readonly role?: string
  /** `next` of the page before. */
  readonly after?: string
  readonly limit?: number
  readonly signal?: AbortSignal
}

export interface ReadOptions {
  readonly field: string
  /** Default: the document itself. */
  readonly entity?: string
  /** Default: the first that has the field. */
  readonly adapter?: string
  readonly signal?: AbortSignal
}

export type Settlement = ReadOptions &
  Choice & {
    readonly document: string
    /** Keys of the sides that the person saw. */
    readonly seen: readonly FactKey[]
  }

export interface Conflicts {
  list(
    options?: ListOptions,
  ): Promise<{ readonly conflicts: readonly ConflictFound[]; readonly next: string | null }>
  /** Also when there is no conflict (any more): `sides` has one then, or none. */
  read(document: string, at: ReadOptions): Promise<FieldFound>
  /** May be tried again: it settles once. Rejects with `ConflictChanged` too. */
  settle(settlement: Settlement): Promise<{ readonly key: FactKey; readonly outcome: Outcome }>
}

/** The sides are others by now: nothing was settled. */
export class ConflictChanged extends TidemarkError {
  readonly conflict: FieldFound
  constructor(message: string, conflict: FieldFound) {
    super('conflict_changed', message)
    this.conflict = conflict
  }
}

/** All reject with a `TidemarkError`, as `client.query` does. */
export function conflictsOf(client: Client): Conflicts {
  // What `createClient` gives is one; apps need not see how.
  const asker = client as Client & Asker
  return {
    async list({ signal, ...options } = {}) {
      const { conflicts, next } = await answerOf<ToldPage>(asker, `conflicts${parametersOf(options)}`, {
        signal,
      })
      return { conflicts: conflicts.map(timed), next }
    },
    async read(document, { signal, ...options }) {
      const route = `conflicts/${encodeURIComponent(document)}${parametersOf(options)}`
      return found(await answerOf<ToldField>(asker, route, { signal }))
    },
    settle: ({ signal, ...settlement }) =>
      answerOf(asker, 'conflicts', { body: JSON.stringify(settlement), signal, refused }),
  }
}

/** Times in ISO 8601, as the server has them. */
interface ToldSide extends Omit<Side, 'at'> {
  readonly at: string | null
}
interface ToldConflict extends Omit<ConflictFound, 'since' | 'sides'> {
  readonly since: string | null
  readonly sides: readonly ToldSide[]
}
interface ToldField extends ToldConflict {
  readonly value: Value
  readonly earlier: readonly (ToldSide & { readonly by: FactKey | null })[]
}
interface ToldPage {
  readonly conflicts: readonly ToldConflict[]
  readonly next: string | null
}

function refused(problem: Problem, text: string, isTemporary: boolean): TidemarkError {
  const { code, conflict } = problem as Problem & { readonly conflict?: ToldField }
  return code === 'conflict_changed' && conflict !== undefined
    ? new ConflictChanged(text, found(conflict))
    : errorOf(code, text, isTemporary)
}

function parametersOf(options: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return given.length === 0
    ? ''
    : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`
}

const timeOf = (text: string | null): number | null => (text === null ? null : Date.parse(text))

const timedSide = <T extends ToldSide>(side: T) => ({ ...side, at: timeOf(side.at) })
const timed = <T extends ToldConflict>(told: T) => ({
  ...told,
  since: timeOf(told.since),
  sides: told.sides.map(timedSide),
})
const found = (told: ToldField): FieldFound => ({ ...timed(told), earlier: told.earlier.map(timedSide) })
