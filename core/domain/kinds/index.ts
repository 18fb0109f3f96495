/** All kinds of fields, each with its mutators. */
export { type CounterState, counter } from './counter.ts'
export { type LastWriteState, lastWrite, timeOf } from './last-write.ts'
export { type MultiValue, type MultiValueState, multiValue, type Side } from './multi-value.ts'
export type { Asked, Offer, OfferStatus, Standing } from './offer-book.ts'
export { type AnswerQuestion, type OfferQuestion, type OfferRules, type Offers, offers } from './offers.ts'
export { type OwnerOptions, type OwnerSeen, owner, type Proposal } from './owner.ts'
export {
  amountMax,
  type QuantityOptions,
  type QuantitySeen,
  quantity,
  type RightsSeen,
  rightsOf,
} from './quantity.ts'
export { reference } from './reference.ts'
export { type RegisterState, register } from './register.ts'
export { type SetElement, type SetState, set } from './set.ts'
export { fieldOfRoot, text, textRoot } from './text.ts'
export {
  type Guard,
  type Machine,
  type Move,
  type MoveOptions,
  type Transition,
  type WorkflowSeen,
  workflow,
} from './workflow.ts'
