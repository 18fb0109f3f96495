/** What became of a fact: kept with it, in the client and in SQL. */
import type { FactKey } from './fact.ts'

export type Status = 'effective' | 'pending' | 'rejected' | 'superseded'

export interface Outcome {
  readonly status: Status
  /**
   * A code, of `rejected` and where there is something to say of another: `late`, `insufficient_rights` … What is pending without
   * one waits for the server's decision; with one for something else: `proposal`, `follows_pending`.
   */
  readonly reason?: string
  /** The fact that settled it: a decision, or what came in its place. */
  readonly by?: FactKey
  /** What is possible now, for whoever was rejected. */
  readonly detail?: Readonly<Record<string, unknown>>
}

export const effective: Outcome = Object.freeze({ status: 'effective' })
export const pending: Outcome = Object.freeze({ status: 'pending' })
/** The entity has not been folded since it came. */
export const unfolded: Outcome = Object.freeze({ status: 'pending', reason: 'unfolded' })
export const notUnderstood: Outcome = Object.freeze({ status: 'rejected', reason: 'not_understood' })
export const malformedPayload: Outcome = Object.freeze({ status: 'rejected', reason: 'malformed_payload' })

/** It is an intent, and nobody has decided on it. */
export const awaitsDecision = ({ status, reason }: Outcome): boolean =>
  status === 'pending' && reason === undefined

export function isSame(a: Outcome, b: Outcome | undefined): boolean {
  if (a === b) return true
  if (b === undefined || a.status !== b.status || a.reason !== b.reason || a.by !== b.by) return false
  return a.detail === b.detail || JSON.stringify(a.detail) === JSON.stringify(b.detail)
}
