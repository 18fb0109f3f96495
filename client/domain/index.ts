/** `tidemark/client/domain`: documents of facts, whose rules hold offline. docs/domain.md explains it. */

export type { Refusal } from '../../core/domain/facts/draft.ts'
export type { Fact, FactKey } from '../../core/domain/facts/fact.ts'
export type { Outcome, Status } from '../../core/domain/facts/outcome.ts'
export { type Acquired, acquireActor } from './actor.ts'
export type { Choice, Conflict, Side } from './conflicts.ts'
export {
  ConflictChanged,
  type ConflictFound,
  type Conflicts,
  conflictsOf,
  type FieldFound,
  type ListOptions,
  type ReadOptions,
  type Settlement,
} from './conflicts-of.ts'
export {
  type Acting,
  type Domain,
  type DomainEvents,
  type DomainHandle,
  type Done,
  type EntriesHandle,
  type FieldHandle,
  type FieldHandles,
  openDomain,
} from './domain.ts'
