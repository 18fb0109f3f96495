/** Offers: one end at most, late ones seen and never winning, whatever order things come in. */
import { expect, test } from 'vitest'
import { type Draft, isRefusal } from '../../../../core/domain/facts/draft.ts'
import { DocumentFold } from '../../../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../../../core/domain/fold/fields.ts'
import type { At } from '../../../../core/domain/fold/kind.ts'
import {
  type AnswerQuestion,
  type OfferRules,
  type Offers,
  offers,
} from '../../../../core/domain/kinds/offers.ts'
import type { Behaviour, Judge } from '../../../support/fact-history.ts'
import { FactWriter, permutations } from '../../../support/fact-writer.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

type Terms = { readonly price: number }
const kind = offers<Terms>()
const { bid, counter, withdraw, accept, close } = kind.mutators
const fields: FieldsOfDocument = { fields: { offers: kind } }
const read = (fold: DocumentFold): Offers<Terms> => fold.read('', 'offers') as Offers<Terms>
const statuses = (fold: DocumentFold): Record<string, string> =>
  Object.fromEntries(read(fold).offers.map(({ key, status }) => [key, status]))
const judge: Judge = (fold, intent) => kind.judge(fold, intent)

function people(...actors: string[]): FactWriter[] {
  const all = actors.map((actor) => new FactWriter(fields, actor))
  for (const each of all) each.meet(...all)
  return all
}

test.each(['first', 'second'])(
  'two bid and two accept offline, the %s is decided first: one is accepted',
  (which) => {
    const [d1, d2, d3, s1, s2, server] = people('deale1', 'deale2', 'deale3', 'sell01', 'sell02', 'server')
    const low = d1!.write(bid(d1!.at('offers'), { price: 100 }))
    const high = d2!.write(bid(d2!.at('offers'), { price: 105 }))
    s1!.meet(d1!, d2!)
    s2!.meet(d1!, d2!)
    const acceptLow = s1!.write(accept(s1!.at('offers'), low))
    const acceptHigh = s2!.write(accept(s2!.at('offers'), high))
    const late = d3!.write(bid(d3!.at('offers'), { price: 110 }))
    const [winner, loser] = which === 'first' ? [s1!, s2!] : [s2!, s1!]
    const [won, lost] = which === 'first' ? [acceptLow, acceptHigh] : [acceptHigh, acceptLow]
    const [chosen, other] = which === 'first' ? [low, high] : [high, low]
    server!.meet(winner)
    const decision = server!.decide(won, judge)
    server!.meet(loser, d3!)
    server!.decide(lost, judge)

    const firsts = server!.entries.filter(({ key }) => key.endsWith(':0'))
    const rest = server!.entries.filter(({ key }) => !key.endsWith(':0'))
    expect(rest).toHaveLength(7)
    for (const order of permutations(rest)) {
      const fold = new DocumentFold(fields)
      for (const entry of [...firsts, ...order]) fold.apply([entry])
      const { state, accepted, pending } = read(fold)
      expect({ state, accepted: accepted?.key, pending }).toEqual({
        state: 'closed',
        accepted: chosen,
        pending: [],
      })
      expect(statuses(fold)).toEqual({ [chosen]: 'accepted', [other]: 'not_chosen', [late]: 'late' })
      expect(fold.fact(won)?.outcome).toEqual({ status: 'effective', by: decision })
      expect(fold.fact(lost)?.outcome).toEqual({
        status: 'rejected',
        reason: 'closed',
        by: `@${lost}`,
        detail: { state: 'closed', accepted: chosen, open: [] },
      })
      expect(fold.fact(late)?.outcome).toEqual({ status: 'rejected', reason: 'late', by: decision })
      expect(
        read(fold)
          .offers.map(({ terms }) => terms.price)
          .sort(),
      ).toEqual([100, 105, 110])
    }
  },
)

test('a decision that the server should not have made ends nothing twice', () => {
  const [dealer, seller] = people('deale1', 'sell01')
  const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  seller!.meet(dealer!)
  const [first, second, third] = [0, 1, 2].map(() => seller!.write(accept(seller!.at('offers'), key)))
  seller!.decide(third!, () => ({ accepted: true }))
  seller!.decide(first!, judge)
  seller!.decide(second!, () => ({ accepted: true, seen: { deale1: 9 } }))
  const outcome = (intent: string) => seller!.fold.fact(intent)!.outcome
  expect(outcome(first!).status).toBe('effective')
  expect(outcome(second!)).toMatchObject({ status: 'rejected', reason: 'closed' })
  expect(outcome(third!)).toMatchObject({ status: 'rejected', reason: 'closed' })
  expect(read(seller!.fold).accepted?.key).toBe(key)
})

test.each(['accept', 'close'])(
  'of a wrong server that accepts and closes, what it said first counts: %s',
  (first) => {
    const [dealer, seller] = people('deale1', 'sell01')
    const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
    seller!.meet(dealer!)
    const accepting = seller!.write(accept(seller!.at('offers'), key))
    const closing = seller!.write(close(seller!.at('offers')))
    for (const intent of first === 'accept' ? [accepting, closing] : [closing, accepting])
      seller!.decide(intent, () => ({ accepted: true, seen: { deale1: 1 } }))
    expect(read(seller!.fold).accepted?.key).toBe(first === 'accept' ? key : undefined)
    expect(statuses(seller!.fold)).toEqual({ [key]: first === 'accept' ? 'accepted' : 'closed' })
  },
)

test('what a wrong server claims to have seen, and is there only afterwards, was not chosen', () => {
  const [dealer, seller] = people('deale1', 'sell01')
  const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  seller!.meet(dealer!)
  const intent = seller!.write(accept(seller!.at('offers'), key))
  seller!.decide(intent, () => ({ accepted: true, seen: { deale1: 9 } }))
  dealer!.meet(seller!)
  const after = dealer!.writeRaw({ entity: '', type: 'offers.bid', payload: { price: 200 } })
  expect(statuses(dealer!.fold)).toEqual({ [key]: 'accepted', [after]: 'not_chosen' })
})

test('an answer that came too late answers nothing', () => {
  const [d1, d2, s1, s2, server] = people('deale1', 'deale2', 'sell01', 'sell02', 'server')
  const chosen = d1!.write(bid(d1!.at('offers'), { price: 100 }))
  const other = d2!.write(bid(d2!.at('offers'), { price: 90 }))
  s1!.meet(d1!, d2!)
  s2!.meet(d1!, d2!)
  const answers = [other, chosen].map((each) => s1!.write(counter(s1!.at('offers'), each, { price: 110 })))
  const intent = s2!.write(accept(s2!.at('offers'), chosen))
  server!.meet(s2!)
  server!.decide(intent, judge)
  server!.meet(s1!)
  expect(statuses(server!.fold)).toEqual({
    [chosen]: 'accepted',
    [other]: 'not_chosen',
    [answers[0]!]: 'late',
    [answers[1]!]: 'late',
  })
})

test('a decision that does not say what it had seen ends nothing', () => {
  const [dealer, seller] = people('deale1', 'sell01')
  const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  seller!.meet(dealer!)
  const intent = seller!.write(accept(seller!.at('offers'), key))
  seller!.decide(intent, () => ({ accepted: true }))
  expect(seller!.fold.fact(intent)?.outcome).toMatchObject({
    status: 'rejected',
    reason: 'malformed_decision',
  })
  expect(read(seller!.fold).state).toBe('open')
})

test('an answer takes the place of what it answers, and only who made the bid accepts it', () => {
  const [dealer, rival, seller, server] = people('deale1', 'deale2', 'sell01', 'server')
  const first = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  const rivals = rival!.write(bid(rival!.at('offers'), { price: 101 }))
  seller!.meet(dealer!, rival!)
  const answer = seller!.write(counter(seller!.at('offers'), first, { price: 110 }))
  expect(seller!.fold.fact(first)?.outcome).toEqual({ status: 'superseded', by: answer })
  expect(accept(seller!.at('offers'), first)).toMatchObject({ reason: 'countered' })
  expect(accept(seller!.at('offers'), answer)).toEqual({
    reason: 'own_offer',
    detail: { state: 'open', accepted: null, open: [rivals, answer] },
  })
  rival!.meet(seller!)
  expect(accept(rival!.at('offers'), answer)).toMatchObject({ reason: 'not_yours' })
  // Somebody's client may not ask.
  const meddling = rival!.writeRaw({ entity: '', type: 'offers.accept', payload: answer })
  dealer!.meet(seller!)
  const wanted = dealer!.write(accept(dealer!.at('offers'), answer))
  server!.meet(rival!, dealer!)
  server!.decide(meddling, judge)
  server!.decide(wanted, judge)
  expect(server!.fold.fact(meddling)?.outcome).toMatchObject({ reason: 'not_yours' })
  expect(statuses(server!.fold)).toEqual({
    [first]: 'countered',
    [rivals]: 'not_chosen',
    [answer]: 'accepted',
  })
})

test.each<[string, OfferRules<Terms>['mayAnswer'] & object]>([
  ['of roles', ['seller']],
  ['of a function', ({ by, isBidder }: AnswerQuestion<Terms>) => isBidder || by.subject === 'user of sell01'],
])(
  'in a thread of offers only its parties answer, by a rule %s: whatever others write is rejected',
  (_what, mayAnswer) => {
    const ruled = offers<Terms>({ mayAnswer })
    const game = { fields: { offers: ruled } }
    const [dealer, rival, seller] = ['deale1', 'deale2', 'sell01'].map((actor) => new FactWriter(game, actor))
    for (const each of [dealer!, rival!, seller!]) each.meet(dealer!, rival!, seller!)
    const at = (writer: FactWriter, ...roles: string[]): At => ({ ...writer.at('offers'), roles })
    const answered = ruled.mutators.counter
    const first = dealer!.write(ruled.mutators.bid(at(dealer!), { price: 100 }))
    rival!.meet(dealer!)
    seller!.meet(dealer!)
    expect(answered(at(rival!, 'buyer'), first, { price: 1 })).toEqual({
      reason: 'not_party',
      detail: { state: 'open', accepted: null, open: [first] },
    })
    // Somebody's client may not ask.
    const meddling = rival!.writeRaw({
      entity: '',
      type: 'offers.counter',
      payload: { to: first, terms: { price: 1 } },
    })
    const answer = seller!.write(answered(at(seller!, 'seller', 'admin'), first, { price: 110 }))
    dealer!.meet(seller!, rival!)
    const last = dealer!.write(answered(at(dealer!), answer, { price: 105 }))
    for (const writer of [dealer!, rival!, seller!]) {
      writer.meet(dealer!)
      expect(writer.fold.fact(meddling)?.outcome).toEqual({ status: 'rejected', reason: 'not_party' })
      expect(statuses(writer.fold)).toEqual({ [first]: 'countered', [answer]: 'countered', [last]: 'open' })
    }
    // What the door has to check, and nothing more.
    if (typeof mayAnswer !== 'function') expect(seller!.fold.fact(answer)?.roles).toEqual(['seller'])
    expect(dealer!.fold.fact(last)?.roles).toEqual([])
  },
)

test('where nobody says in which roles they are, the rule is for the fold', () => {
  const ruled = offers<Terms>({ mayAnswer: ['seller'] })
  const [dealer, seller] = ['deale1', 'sell01'].map(
    (actor) => new FactWriter({ fields: { offers: ruled } }, actor),
  )
  const first = dealer!.write(ruled.mutators.bid(dealer!.at('offers'), { price: 100 }))
  seller!.meet(dealer!)
  const key = seller!.write(ruled.mutators.counter(seller!.at('offers'), first, { price: 1 }))
  expect(seller!.fold.fact(key)?.outcome).toMatchObject({ reason: 'not_party' })
})

test('two answers to one bid that do not know of each other are both open', () => {
  const [dealer, s1, s2] = people('deale1', 'sell01', 'sell02')
  const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  const answers = [s1!, s2!].map((seller, i) => {
    seller.meet(dealer!)
    return seller.write(counter(seller.at('offers'), key, { price: 110 + i }))
  })
  dealer!.meet(s1!, s2!)
  expect(statuses(dealer!.fold)).toEqual({ [key]: 'countered', [answers[0]!]: 'open', [answers[1]!]: 'open' })
  expect(isRefusal(accept(dealer!.at('offers'), answers[1]!))).toBe(false)
})

test('one withdraws what is of oneself, from any device, and nobody can accept it then', () => {
  const [dealer, seller] = people('deale1', 'sell01')
  const laptop = new FactWriter(fields, 'deale9', 'user of deale1')
  const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  seller!.meet(dealer!)
  expect(withdraw(seller!.at('offers'), key)).toMatchObject({ reason: 'not_yours' })
  const meddling = seller!.writeRaw({ entity: '', type: 'offers.withdraw', payload: key })
  expect(seller!.fold.fact(meddling)?.outcome).toEqual({ status: 'rejected', reason: 'not_yours' })
  const intent = seller!.write(accept(seller!.at('offers'), key))
  laptop.meet(dealer!)
  const withdrawal = laptop.write(withdraw(laptop.at('offers'), key))
  seller!.meet(laptop)
  expect(seller!.fold.fact(key)?.outcome).toEqual({
    status: 'superseded',
    reason: 'withdrawn',
    by: withdrawal,
  })
  seller!.decide(intent, judge)
  expect(seller!.fold.fact(intent)?.outcome).toMatchObject({
    reason: 'withdrawn',
    detail: { state: 'open', accepted: null, open: [] },
  })
})

test('a withdrawal that the decision had not seen came too late', () => {
  const [dealer, seller, server] = people('deale1', 'sell01', 'server')
  const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  seller!.meet(dealer!)
  const withdrawal = dealer!.write(withdraw(dealer!.at('offers'), key))
  const intent = seller!.write(accept(seller!.at('offers'), key))
  server!.meet(seller!)
  server!.decide(intent, judge)
  server!.meet(dealer!)
  expect(statuses(server!.fold)).toEqual({ [key]: 'accepted' })
  expect(server!.fold.fact(withdrawal)?.outcome).toMatchObject({ status: 'rejected', reason: 'late' })
})

test('closing ends it without anybody, and nothing can be offered after that', () => {
  const [dealer, seller] = people('deale1', 'sell01')
  const key = dealer!.write(bid(dealer!.at('offers'), { price: 100 }))
  seller!.meet(dealer!)
  seller!.decide(seller!.write(close(seller!.at('offers'))), judge)
  expect(read(seller!.fold)).toMatchObject({ state: 'closed', accepted: null, pending: [] })
  expect(statuses(seller!.fold)).toEqual({ [key]: 'closed' })
  expect(bid(seller!.at('offers'), { price: 1 })).toMatchObject({ reason: 'closed' })
  expect(accept(seller!.at('offers'), key)).toMatchObject({ reason: 'closed' })
})

test('who may accept is for the guard to say, which knows the person', () => {
  const guarded = offers<Terms>({
    isTerms: (terms) => typeof (terms as Terms | null)?.price === 'number',
    guard: ({ person, offer }) =>
      !person.roles.includes('seller')
        ? 'not_allowed'
        : offer !== null && offer.terms.price < 50
          ? 'too_low'
          : null,
  })
  const writer = new FactWriter({ fields: { offers: guarded } }, 'sell01')
  const dealer = new FactWriter({ fields: { offers: guarded } }, 'deale1')
  const key = dealer.write(guarded.mutators.bid(dealer.at('offers'), { price: 40 }))
  const wrong = dealer.writeRaw({ entity: '', type: 'offers.bid', payload: 40 })
  expect(dealer.fold.fact(wrong)?.outcome.reason).toBe('malformed_payload')
  writer.meet(dealer)
  const buyer = { subject: 'user of sell01', roles: ['buyer'] }
  const seller = { subject: 'user of sell01', roles: ['seller'] }
  const { accept } = guarded.mutators
  expect(accept(writer.at('offers'), key, buyer)).toMatchObject({ reason: 'not_allowed' })
  expect(accept(writer.at('offers'), key, seller)).toMatchObject({ reason: 'too_low' })
  // Who does not say who they are learns it from the server.
  const intents = [
    accept(writer.at('offers'), key),
    { entity: '', type: 'offers.close', payload: null, roles: ['seller'] },
  ]
  const [unasked, closing] = intents.map((draft) => writer.write(draft))
  const judged = (intent: string, person?: typeof seller) =>
    guarded.judge(writer.fold, writer.fold.fact(intent)!, person)
  expect(judged(unasked!)).toEqual({ accepted: false, reason: 'not_allowed' })
  expect(judged(unasked!, seller)).toEqual({ accepted: false, reason: 'too_low' })
  expect(judged(closing!)).toMatchObject({ accepted: true })
  expect(guarded.mutators.close(writer.at('offers'), seller)).toMatchObject({ roles: ['seller'] })
})

test('a decision reaches bids of more people than a fact has room to name', () => {
  const dealers = Array.from(
    { length: 200 },
    (_, i) => new FactWriter(fields, `d${String(i).padStart(5, '0')}`),
  )
  const keys = dealers.map((dealer, i) => dealer.write(bid(dealer.at('offers'), { price: i })))
  const seller = new FactWriter(fields, 'sell01')
  seller.meet(...dealers)
  const intent = seller.write(accept(seller.at('offers'), keys[7]!))
  seller.decide(intent, judge)
  const late = new FactWriter(fields, 'zzzzzz')
  late.write(bid(late.at('offers'), { price: 999 }))
  seller.meet(late)
  const counts = new Map<string, number>()
  for (const status of Object.values(statuses(seller.fold))) counts.set(status, (counts.get(status) ?? 0) + 1)
  expect(Object.fromEntries(counts)).toEqual({ accepted: 1, not_chosen: 199, late: 1 })
  expect(read(seller.fold).accepted?.key).toBe(keys[7])
})

test('order, duplication and grouping do not matter, and one at most is accepted at every replica and step', () => {
  const occurred = new Set<string>()
  const behave: Behaviour = ({ fold, actor }, choice) => {
    const at = { fold, actor, entity: '', field: 'offers' }
    const keys = read(fold).offers.map(({ key }) => key)
    const key = keys.length === 0 ? 'nobody:1' : choice.of(keys)
    const price = choice.below(100)
    const wanted: Draft | undefined = choice.of([
      () => bid(at, { price }),
      () => counter(at, key, { price }),
      () => withdraw(at, key),
      () =>
        choice.of(
          keys
            .map((each) => accept(at, each))
            .filter((draft) => !isRefusal(draft))
            .slice(-3),
        ),
      () => (choice.below(10) === 9 ? close(at) : counter(at, key, { price })),
      () => ({
        entity: '',
        type: `offers.${choice.of(['withdraw', 'withdraw', 'withdraw', 'accept'])}`,
        payload: key,
      }),
      () => ({
        entity: '',
        type: 'offers.counter',
        payload: { to: choice.of([key, 'nobody:1']), terms: { price } },
      }),
    ])()
    return wanted === undefined || isRefusal(wanted) ? null : wanted
  }
  holdsLaws({
    fields,
    behave,
    judge: (fold, intent) =>
      // A server that is wrong now and then.
      intent.seq % 7 === 6 ? { accepted: true, seen: { alice0: 2 } } : kind.judge(fold, intent),
    runs: 250,
    stepsMax: 80,
    check(fold) {
      const accepted = read(fold).offers.filter(({ status }) => status === 'accepted')
      expect(accepted.length).toBeLessThanOrEqual(1)
      const ends = fold
        .facts('')
        .filter(({ type, outcome }) => /accept|close/.test(type) && outcome.status === 'effective')
      expect(ends.length).toBeLessThanOrEqual(1)
      for (const { type, outcome } of fold.facts(''))
        occurred.add(`${type} ${outcome.reason ?? outcome.status}`)
    },
  })
  for (const each of [
    'offers.bid effective',
    'offers.bid superseded',
    'offers.bid withdrawn',
    'offers.bid not_chosen',
    'offers.bid closed',
    'offers.bid late',
    'offers.counter effective',
    'offers.counter late',
    'offers.counter no_such_offer',
    'offers.withdraw effective',
    'offers.withdraw not_yours',
    'offers.withdraw late',
    'offers.accept effective',
    'offers.accept pending',
    'offers.accept closed',
    'offers.accept own_offer',
    'offers.accept withdrawn',
    'offers.accept countered',
    'offers.close effective',
  ])
    expect([...occurred].sort()).toContain(each)
})
