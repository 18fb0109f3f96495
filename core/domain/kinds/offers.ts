/**
 * Offers that answer one another, until one is accepted or the whole is closed.
 *
 *   offers.bid        {"price": 100}                                  its terms
 *   offers.counter    {"to": "k3x9a2:4", "terms": {"price": 110}}     takes the place of the one it answers
 *   offers.withdraw   "k3x9a2:4"                                      one's own, from any of one's devices
 *   offers.accept     "k3x9a2:4"                                      decided
 *   offers.close      null                                            decided
 *
 * - Bids, answers and withdrawals are free: everybody can make them without a network, and all are kept. An answer supersedes
 *   what it answers, but concurrent answers are all open; which of them counts says who accepts one.
 * - Accepting and closing are decided. There is one end at most: of two who accept, the server rejects the second, and if it
 *   did not, the first decision would count. It looks back: what it had not seen came too late, wherever it is in the order of
 *   facts; it is rejected as late and visible. What was open and not accepted was not chosen.
 * - The judge keeps what follows from the offers themselves: nobody accepts an offer of their own, what is withdrawn or
 *   answered cannot be accepted, and an answer to a bid only by who made the bid. Who may speak for the seller it asks
 *   `guard`.
 * - Who may answer is for `mayAnswer`, which each replica asks of each answer, since nobody decides them: a predicate over what the
 *   facts say, or roles, which the answer names and the door checks. Default: everybody.
 */
import type { Value } from '../../engine/live-document.ts'
import { seenOf } from '../facts/author.ts'
import { type Draft, refusal } from '../facts/draft.ts'
import { type Fact, type FactKey, parseKey } from '../facts/fact.ts'
import { effective } from '../facts/outcome.ts'
import type { DocumentFold } from '../fold/document-fold.ts'
import { type At, type Kind, operation, type Person, subjectAt } from '../fold/kind.ts'
import { type Asked, type Offer, OfferBook } from './offer-book.ts'

export interface Offers<T> {
  readonly state: 'open' | 'closed'
  readonly accepted: Offer<T> | null
  /** All there ever were, in order. */
  readonly offers: readonly Offer<T>[]
  readonly pending: readonly Asked[]
}

export interface OfferQuestion<T> {
  readonly fold: DocumentFold
  readonly entity: string
  readonly field: string
  readonly operation: 'accept' | 'close'
  /** What would be accepted. */
  readonly offer: Offer<T> | null
  readonly person: Person
}

export interface AnswerQuestion<T> {
  /** That would be answered. */
  readonly offer: Offer<T>
  /** By whom. Roles are those that the answer names. */
  readonly by: Person & { readonly actor: string }
  /** They made the bid that it goes back to. */
  readonly isBidder: boolean
}

export interface OfferRules<T> {
  isTerms?(payload: Value): boolean
  /**
   * Who may answer an offer. Roles: those who have one of them, and who made the bid that it goes back to. A function: whom it
   * says; pure, and the same for every replica. Else the answer is rejected, as `not_party`.
   */
  readonly mayAnswer?: readonly string[] | ((answer: AnswerQuestion<T>) => boolean)
  /** Why this person may not, in a word; null: they may. */
  guard?(question: OfferQuestion<T>): string | null
}

interface Answer {
  readonly to: FactKey
  readonly terms: Value
}

export function offers<T extends Value = Value>({
  isTerms = () => true,
  guard = () => null,
  mayAnswer = everybody,
}: OfferRules<T> = {}) {
  const isParty = (offer: Offer<Value>, by: AnswerQuestion<T>['by']): boolean => {
    const isBidder = isOf(offer.bidder, by.actor, by.subject)
    if (typeof mayAnswer === 'function') return mayAnswer({ offer: offer as Offer<T>, by, isBidder })
    return isBidder || mayAnswer.some((role) => by.roles.includes(role))
  }

  const isAnswer = (payload: Value): boolean => {
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return false
    const { to, terms } = payload as Partial<Answer>
    return isKey(to) && terms !== undefined && isTerms(terms)
  }

  /** Those that matter; none for the bidder, who needs none. */
  function rolesToSay(offer: Offer<Value>, at: At): readonly string[] {
    const { actor, roles = [] } = at
    if (typeof mayAnswer === 'function') return mayAnswer === everybody ? [] : roles
    if (isOf(offer.bidder, actor, subjectAt(at))) return []
    return mayAnswer.filter((role) => roles.includes(role))
  }

  /** Why it cannot be now; null: it can, unless the guard objects. */
  function objection(at: At, verb: 'accept' | 'close', key: FactKey | null, person?: Person): string | null {
    const book = bookOf(at)
    const { fold, entity, field, actor } = at
    const subject = person?.subject ?? subjectAt(at)
    if (book.isClosed) return 'closed'
    const offer = key === null ? null : (book.get(key) as Offer<T> | undefined)
    if (offer === undefined) return 'no_such_offer'
    if (offer !== null) {
      if (offer.status !== 'open') return offer.status
      if (isOf(offer, actor, subject)) return 'own_offer'
      const isByBidder = isOf(offer.bidder, offer.actor, offer.subject)
      if (!isByBidder && !isOf(offer.bidder, actor, subject)) return 'not_yours'
    }
    return person === undefined ? null : guard({ fold, entity, field, operation: verb, offer, person })
  }

  function intent(at: At, verb: 'accept' | 'close', key: FactKey | null, person?: Person): Draft {
    const why = objection(at, verb, key, person)
    if (why !== null) return refusal(why, { ...bookOf(at).standing() })
    const draft = {
      entity: at.entity,
      type: `${at.field}.${verb}`,
      payload: key,
      about: key === null ? [] : [key],
    }
    return person === undefined ? draft : { ...draft, roles: person.roles }
  }

  return {
    name: 'offers',
    operations: {
      bid: operation('free', isTerms),
      counter: operation('free', isAnswer),
      withdraw: operation('free', isKey),
      accept: operation('decided', isKey),
      close: operation('decided', (payload) => payload === null),
    },
    mutators: {
      bid(at: At, terms: T): Draft {
        if (bookOf(at).isClosed) return refusal('closed', { ...bookOf(at).standing() })
        return { entity: at.entity, type: `${at.field}.bid`, payload: terms }
      },
      counter(at: At, to: FactKey, terms: T): Draft {
        const { entity, field, actor, roles } = at
        const refuse = (why: string): Draft => refusal(why, { ...bookOf(at).standing() })
        const offer = bookOf(at).get(to)
        if (offer?.status !== 'open') return refuse(offer?.status ?? 'no_such_offer')
        const by = { actor, subject: subjectAt(at), roles: rolesToSay(offer, at) }
        // Where roles are not known it is for the fold to say.
        const isUnknown = roles === undefined && typeof mayAnswer !== 'function'
        if (!isUnknown && !isParty(offer, by)) return refuse('not_party')
        const draft = { entity, type: `${field}.counter`, payload: { to, terms }, about: [to] }
        return by.roles.length === 0 ? draft : { ...draft, roles: by.roles }
      },
      withdraw(at: At, key: FactKey): Draft {
        const book = bookOf(at)
        const offer = book.get(key)
        const { entity, field, actor } = at
        const refuse = (why: string): Draft => refusal(why, { ...book.standing() })
        if (offer === undefined) return refuse('no_such_offer')
        if (!isOf(offer, actor, subjectAt(at))) return refuse('not_yours')
        if (offer.status !== 'open') return refuse(offer.status)
        return { entity, type: `${field}.withdraw`, payload: key, about: [key] }
      },
      /** Without `person` nobody asks the guard before the server does. */
      accept: (at: At, key: FactKey, person?: Person): Draft => intent(at, 'accept', key, person),
      close: (at: At, person?: Person): Draft => intent(at, 'close', null, person),
    },
    create: () => new OfferBook(),
    apply(book, name, fact, context) {
      const { key, actor, payload } = fact
      const reject = (reason: string, by?: FactKey): void =>
        context.settle(fact, { status: 'rejected', reason, ...(by === undefined ? {} : { by }) })
      switch (name) {
        case 'bid':
          return book.enter(fact, payload, null, context)
        case 'counter': {
          const { to, terms } = payload as object as Answer
          const offer = book.get(to)
          if (offer === undefined) return reject('no_such_offer')
          if (!isParty(offer, { actor, subject: context.subjectOf(actor), roles: fact.roles }))
            return reject('not_party')
          book.enter(fact, terms, to, context)
          if (book.get(key)!.status === 'open') book.leave(to, 'countered', key, context)
          return
        }
        case 'withdraw': {
          const offer = book.get(payload as FactKey)
          const late = book.lateFor(fact, context)
          if (offer === undefined) return reject('no_such_offer')
          if (!isOf(offer, actor, context.subjectOf(actor))) return reject('not_yours')
          if (late !== null) return reject('late', late)
          context.settle(fact, effective)
          return book.leave(offer.key, 'withdrawn', key, context)
        }
        default: {
          const offer = name === 'accept' ? (payload as FactKey) : null
          const subject = context.subjectOf(actor)
          return book.ask({ key, operation: name as Asked['operation'], offer, actor, subject })
        }
      }
    },
    decide(book, name, intent, decision, fact, context) {
      book.answered(intent.key)
      const closing = book.closingOf(context)
      if (decision.accepted && closing?.by === fact) {
        context.settle(intent, { status: 'effective', by: fact.key })
        return book.end(name === 'accept' ? (intent.payload as FactKey) : null, fact.key, context)
      }
      // Accepted, and not the one that ends it: the server was wrong, and what it said first counts.
      const reason = decision.accepted
        ? closing === null
          ? 'malformed_decision'
          : 'closed'
        : decision.reason
      const detail = { ...book.standing() }
      context.settle(intent, { status: 'rejected', reason: reason ?? 'refused', by: fact.key, detail })
    },
    judge(fold: DocumentFold, intent: Fact, given?: Person) {
      const { entity, type, actor, payload, roles } = intent
      const person = given ?? { subject: fold.subjectOf(actor) ?? '', roles }
      const dot = type.lastIndexOf('.')
      const verb = type.slice(dot + 1) as Asked['operation']
      const at = { fold, entity, field: type.slice(0, dot), actor }
      const reason = objection(at, verb, verb === 'accept' ? (payload as FactKey) : null, person)
      return reason === null ? { accepted: true, seen: seenOf(fold, entity) } : { accepted: false, reason }
    },
    read(book): Offers<T> {
      return {
        state: book.isClosed ? 'closed' : 'open',
        accepted: book.accepted() as Offer<T> | null,
        offers: book.offers() as Offer<T>[],
        pending: book.pending(),
      }
    },
  } satisfies Kind<OfferBook, Offers<T>>
}

const everybody = (): boolean => true
const bookOf = ({ fold, entity, field }: At): OfferBook => fold.state(entity, field) as OfferBook

/** Nobody is anybody in particular where nobody is authenticated: then only the device says. */
const isOf = (who: Pick<Offer<Value>, 'actor' | 'subject'>, actor: string, subject: string): boolean =>
  who.actor === actor || (subject !== '' && who.subject === subject)

const isKey = (value: Value | undefined): boolean => typeof value === 'string' && parseKey(value) !== null
