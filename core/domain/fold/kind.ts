/**
 * What a kind of field is: how facts become its state, and what of it people and SQL see. Kinds are pure; a state belongs to
 * one fold, which gives it the facts of one field of one entity in the order of `compareFacts`, each once.
 *
 * - `apply` and `decide` may change `state`, and say what became of facts with `context.settle`. Nothing they do may depend
 *   on what comes later, but on decisions that look back (`context.lookBacksOf`), which are known from the start.
 * - `operations` says how each is coordinated, and checks its payload: `apply` gets none that was refused.
 */
import type { State as DocumentState, Value } from '../../engine/live-document.ts'
import type { Assignment, Draft, Refusal } from '../facts/draft.ts'
import type { Fact, FactKey } from '../facts/fact.ts'
import type { Outcome } from '../facts/outcome.ts'
import type { DocumentFold } from './document-fold.ts'

/**
 * free     effective at once, whatever others do
 * escrow   free within the rights that its actor holds; beyond them rejected
 * decided  an intent: pending until the server decides
 */
export type Consistency = 'free' | 'escrow' | 'decided'

export interface Operation {
  readonly consistency: Consistency
  /** Its payload says in `time` when it was written, in ms: the door believes no clock that is far ahead of its own. */
  readonly clocked?: true
  isPayload(payload: Value): boolean
}

/** The server's word on an intent: payload of the fact `@` + its key. */
export interface Decision {
  readonly accepted: boolean
  /** Why not. */
  readonly reason?: string
  /** Subject that had it decided; '' for the server itself. */
  readonly by?: string
  /** What the decision adds, as its kind needs it. */
  readonly data?: Value
  /** What it takes and frees over all documents: the log alone says who has what. */
  readonly claims?: Partial<Claims>
  /**
   * By actor the last seq that the server knew. It is there in decisions that look back, and only in those: facts beyond it came
   * after the decision, wherever they are in the order.
   */
  readonly seen?: Readonly<Record<string, number>>
}

/** Resources, by names that the adapter gives them (`harvest/42`). */
export interface Claims {
  /** Whoever has one keeps others from it: their intents are rejected, as `claimed`. */
  readonly takes: readonly string[]
  readonly frees: readonly string[]
}

export interface LookBack {
  readonly intent: Fact
  readonly decision: Decision
  /** The decision's own fact. */
  readonly by: Fact
}

/** Whose intent it is, as far as the judge is told. */
export interface Person {
  readonly subject: string
  readonly roles: readonly string[]
}

/** What a fact is about. */
export interface About {
  readonly field: string
  readonly kind: AnyKind
  readonly operation: string
}

export interface FoldContext {
  settle(fact: Fact, outcome: Outcome): void
  /** Of the same document, if it is ready. */
  fact(key: FactKey): Fact | undefined
  /** Decisions that look back and accept an intent of this operation of the field that is being asked, in the order of the decisions. */
  lookBacksOf(operation: string): readonly LookBack[]
  /** Whose an actor is. */
  subjectOf(actor: string): string
  /** Lets a fact of any field of the entity, withheld before, count from here on. */
  replay(fact: Fact): void
}

/** Where a field is. */
export interface Place {
  readonly entity: string
  readonly field: string
  /** All else that is in the document, for kinds that live outside the facts. Null when the reader has only facts. */
  readonly document: DocumentState | null
}

/** Where a mutator is asked, and for whom. */
export interface At {
  readonly fold: DocumentFold
  readonly entity: string
  readonly field: string
  /** Who would write. */
  readonly actor: string
  /** When, by the clock of who would: for people to read, never to decide by. */
  readonly nowMs?: number
  /** Whose that actor is, as long as the fold does not know it. */
  readonly subject?: string
  /** In which roles they would, where that is known. */
  readonly roles?: readonly string[]
  /** All else that is in the document, for kinds that live outside the facts. */
  readonly document?: DocumentState
}

/** '' where nobody is anybody in particular. */
export const subjectAt = ({ fold, actor, subject = '' }: At): string => fold.subjectOf(actor) ?? subject

export type Mutator = (at: At, ...rest: never[]) => Draft
export type Assigner = (at: At, ...rest: never[]) => Assignment | Refusal

/** Of a field that no facts make. */
export interface From {
  /** A root map. */
  readonly map: string
  /** Of a field of the document itself; default: the field's name. For one of an entity it is what is behind the slash. */
  readonly key?: string
}

export interface Kind<State = unknown, Seen = unknown> {
  /** `register`, `quantity` … */
  readonly name: string
  readonly operations: Readonly<Record<string, Operation>>
  /** Where its values are, if no facts make it. */
  readonly from?: From
  /** What a client may do; see facts/draft.ts. */
  readonly mutators?: Readonly<Record<string, Mutator>>
  /** The same of a field that no facts make. */
  readonly assigners?: Readonly<Record<string, Assigner>>
  create(): State
  apply(state: State, operation: string, fact: Fact, context: FoldContext): void
  /** The intent is of this field, and pending. Kinds without decided operations have none. */
  decide?(
    state: State,
    operation: string,
    intent: Fact,
    decision: Decision,
    fact: Fact,
    context: FoldContext,
  ): void
  /** The server's word on an intent of this field that is pending, given all that is in the log. It changes nothing. */
  judge?(fold: DocumentFold, intent: Fact, person?: Person): Decision
  /** Who may do it, any of these; none: anybody. The judge asks; this tells people whose business it is. */
  rolesOf?(operation: string): readonly string[]
  /** Asked of each fact of the entity's other fields before it counts: an outcome withholds it. */
  withhold?(state: State, fact: Fact, context: FoldContext, about: About): Outcome | null
  /** Of the entity, as this field knows it: what facts that are written now say of it. */
  epochOf?(state: State): number
  /** What people see. Plain JSON-like data that does not change when the state does. */
  read(state: State, place: Place): Seen
}

/** For lists of kinds of any state. */
// biome-ignore lint/suspicious/noExplicitAny: states differ, and each is only given back to its own kind
export type AnyKind = Kind<any, any>

export const operation = (
  consistency: Consistency,
  isPayload: (payload: Value) => boolean = () => true,
): Operation => ({ consistency, isPayload })
