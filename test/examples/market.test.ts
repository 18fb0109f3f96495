/** The market example without its pages: its rules, what waits for whom, and that everything there is to say has words. */
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { type Domain, openDomain } from '../../client/domain/domain.ts'
import { decided } from '../../core/domain/facts/author.ts'
import { factsRoot } from '../../core/domain/facts/fact.ts'
import { DocumentFold } from '../../core/domain/fold/document-fold.ts'
import { followEntries, writeEntries } from '../../core/engine/yjs/written-entries.ts'
import { deals } from '../../examples/market/adapters/fields/deals.ts'
import { listings } from '../../examples/market/adapters/fields/listings.ts'
import { choicesIn, itemsOf } from '../../examples/market/src/inbox.ts'
import type { Deal, Listing } from '../../examples/market/src/market.ts'
import { refused, why } from '../../examples/market/src/words.ts'
import { loadAdapters } from '../../server/views/adapters.ts'

/** Somebody's device, which has what it was told and nothing else. */
class Device {
  readonly acting: { actor: string; subject: string; roles: readonly string[] }
  readonly deal: Deal
  readonly listing: Listing & { readonly id: string }
  private readonly docs: readonly Y.Doc[]

  constructor(subject: string, role: string) {
    this.acting = { actor: subject.padEnd(6, '0'), subject, roles: [role] }
    const [deal, listing] = [new Y.Doc(), new Y.Doc()]
    this.docs = [deal, listing]
    this.deal = openOn(deal, openDomain(handleOf(deal), deals, this.acting)) as Deal
    this.listing = {
      ...(openOn(listing, openDomain(handleOf(listing), listings, this.acting)) as Listing),
      id: 'listings/1',
    }
  }

  hears(other: Device): void {
    for (const [index, doc] of this.docs.entries())
      Y.applyUpdate(doc, Y.encodeStateAsUpdate(other.docs[index]!, Y.encodeStateVector(doc)))
  }

  get items() {
    const { deal, listing } = this
    return itemsOf({ deals: [{ id: 'deals/1', deal, listing }], listings: [listing] }, this.acting)
  }
}

/** What the server would say to all that waits for it. */
function decide({ deal }: Device): void {
  const { doc } = deal.handle
  const fold = new DocumentFold(deals)
  followEntries(doc, factsRoot, (entries) => fold.apply(entries))()
  fold.takeChanges()
  for (const intent of fold.undecided())
    writeEntries(doc, factsRoot, [decided(fold, intent, fold.judge(intent)!)])
}

const handleOf = (doc: Y.Doc) => ({ doc, loaded: true, on: () => () => undefined })

/** Of a handle only the document is used here. */
function openOn(doc: Y.Doc, domain: Domain<typeof deals> | Domain<typeof listings>): unknown {
  return { handle: handleOf(doc), domain, fields: domain.fields }
}

function two(): [Device, Device] {
  const [ida, ravi] = [new Device('ida', 'seller'), new Device('ravi', 'seller')]
  ida.listing.fields.harvest.do.set('Cox, lower field')
  ida.listing.fields.asking.do.set(120)
  ida.deal.fields.listing.do.set('listings/1')
  ravi.hears(ida)
  return [ida, ravi]
}

test('each kind of document is one file', async () => {
  const adapters = await loadAdapters('./examples/market/adapters')
  expect(adapters.map(({ name }) => name)).toEqual(['deals', 'listings'])
})

test('of two prices set apart a seller is asked which, a dealer is not; either side or a third settles it everywhere', () => {
  for (const settles of ['side', 'third'] as const) {
    const [ida, ravi] = two()
    ida.listing.fields.asking.do.set(125)
    ravi.listing.fields.asking.do.set(130)
    ravi.hears(ida)
    ida.hears(ravi)
    const dora = new Device('dora', 'dealer')
    dora.hears(ida)
    expect(dora.items).toEqual([])
    const [item] = ida.items
    if (item?.kind !== 'conflict') throw new Error('there is no conflict')
    expect(item).toMatchObject({ document: 'listings/1', deal: 'deals/1', title: 'Cox, lower field' })
    expect(item.versions.map(({ value, subject }) => `${subject} ${value}`).sort()).toEqual([
      'ida 125',
      'ravi 130',
    ])
    const theirs = item.versions.find(({ subject }) => subject === 'ravi')!
    expect((settles === 'side' ? item.pick(theirs) : item.write(127)).refusal).toBeNull()
    ravi.hears(ida)
    for (const { listing, items } of [ida, ravi]) {
      expect(items).toEqual([])
      expect(listing.fields.asking.value.value).toBe(settles === 'side' ? 130 : 127)
    }
  }
})

test('who settles what has changed meanwhile is told so, and nothing is settled', () => {
  const [ida, ravi] = two()
  const sol = new Device('sol', 'seller')
  sol.hears(ida)
  for (const [index, { listing }] of [ida, ravi, sol].entries()) listing.fields.asking.do.set(100 + index)
  ida.hears(ravi)
  const [item] = ida.items
  if (item?.kind !== 'conflict') throw new Error('there is no conflict')
  ida.hears(sol)
  const { refusal } = item.pick(item.versions[0])
  expect(refused(refusal!)).toBe('There is another version meanwhile; look again.')
  expect(choicesIn(ida.items)).toBe(1)
})

test('what nobody has decided waits, and says what it follows', () => {
  const [ida] = two()
  const { state, bids } = ida.deal.fields
  const cancel = state.do.move('cancel')
  expect(ida.items).toMatchObject([
    { kind: 'waiting', what: 'Cancel the deal', waitsFor: 'Waiting for the server' },
  ])
  expect(choicesIn(ida.items)).toBe(0)
  expect(state.value.state).toBe('open')
  expect(state.expected.state).toBe('cancelled')
  expect(ida.deal.domain.outcome(cancel.key!)).toMatchObject({ status: 'pending' })
  expect(bids.value.state).toBe('open')
})

test.each([
  ['as it was written', 'Free to the gate, before noon'],
  ['declined', 'Collected'],
  ['answered with a third', 'By boat'],
])(
  'what the old holder wrote is a proposal to the new one, who wrote something else meanwhile; %s',
  (how, expected) => {
    const [ida, ravi] = two()
    ida.deal.fields.holder.do.handOver('ida')
    decide(ida)
    ravi.hears(ida)
    ida.deal.fields.delivery.do.set('Free to the gate, before noon')
    ravi.deal.fields.holder.do.handOver('ravi', ravi.acting)
    decide(ravi)
    ravi.deal.fields.delivery.do.set('Collected')
    ravi.hears(ida)
    ida.hears(ravi)
    expect(ida.items).toMatchObject([{ kind: 'waiting', waitsFor: 'Waiting for Ravi' }])
    const [item, ...others] = ravi.items
    if (item?.kind !== 'proposal') throw new Error('there is no proposal')
    expect(others).toEqual([])
    expect(item.versions).toMatchObject([
      { value: 'Collected' },
      { value: 'Free to the gate, before noon', subject: 'ida' },
    ])
    const [present, proposed] = item.versions
    const done =
      how === 'declined'
        ? item.pick(present)
        : expected === 'By boat'
          ? item.write(expected)
          : item.pick(proposed)
    expect(done.refusal).toBeNull()
    ida.hears(ravi)
    for (const { deal, items } of [ida, ravi]) {
      expect(items).toEqual([])
      expect(deal.fields.delivery.value).toMatchObject({ value: expected, conflict: null })
    }
  },
)

test('sellers accept and answer bids; other dealers do not, and nobody accepts what is no price', () => {
  const [ida] = two()
  const dora = new Device('dora', 'dealer')
  const dirk = new Device('dirk', 'dealer')
  const { key } = dora.deal.fields.bids.do.bid({ price: 100 })
  dora.deal.fields.bids.do.bid({ price: -1 })
  ida.hears(dora)
  dirk.hears(dora)
  const accept = ({ deal, acting }: Device) => deal.fields.bids.do.accept(key!, acting).refusal
  expect(accept(dirk)).toMatchObject({ reason: 'not_allowed' })
  expect(accept(dora)).toMatchObject({ reason: 'own_offer' })
  expect(dirk.deal.fields.bids.do.counter(key!, { price: 90 }).refusal).toMatchObject({ reason: 'not_party' })
  expect(ida.deal.fields.bids.value.offers.map(({ terms }) => terms.price)).toEqual([100])
  expect(accept(ida)).toBeNull()
})

test.each([
  'closed',
  'withdrawn',
  'countered',
  'claimed',
  'stale',
  'not_possible',
  'guard',
  'not_allowed',
  'late',
  'cancelled',
  'own_offer',
  'not_yours',
  'not_party',
  'no_such_offer',
  'insufficient_rights',
  'not_holder',
  'no_proposal',
  'declined',
  'called_in',
  'conflict',
  'conflict_changed',
  'no_conflict',
  'unknown_version',
  'unknown_epoch',
  'malformed_payload',
])('“%s” is said in words', (reason) => {
  const [ida] = two()
  const said = why({ type: 'bids.accept', outcome: { status: 'rejected', reason } }, ida.deal.domain)
  expect(said).toMatch(/^[A-Z].*\.$/)
  expect(said).not.toMatch(/[(_]|intent|fact|epoch/)
})
