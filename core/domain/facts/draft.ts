/**
 * What mutators give: the fact that a client would write next, or why it would not count and what is possible instead. A mutator
 * is a pure function of where it is asked (`At`) and its arguments; it looks at what its replica knows, so nobody is promised anything by a draft.
 */
import type { Value } from '../../engine/live-document.ts'
import type { NewFact } from './author.ts'

export interface Refusal {
  /** A code, the same as a fact's outcome would have: `insufficient_rights`, `conflict` … */
  readonly reason: string
  /** How it stands, and what is possible now. */
  readonly detail: Readonly<Record<string, unknown>>
}

export type Draft = NewFact | Refusal

/** No fact, but a value that takes the place of whatever is at a key of a root map. */
export interface Assignment {
  readonly map: string
  readonly key: string
  readonly value: Value
}

export const refusal = (reason: string, detail: Refusal['detail'] = {}): Refusal => ({ reason, detail })

export const isRefusal = (draft: Draft | Assignment): draft is Refusal => 'reason' in draft
export const isAssignment = (draft: Draft | Assignment): draft is Assignment => 'map' in draft
