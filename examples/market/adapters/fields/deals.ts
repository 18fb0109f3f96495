/**
 * What a deal says, and its rules: the whole of them. Browser, server and SQL read this file and nothing else, so what a person is
 * shown offline is what the server will say.
 */
import {
  type Guard,
  multiValue,
  type Offer,
  type OfferQuestion,
  type Offers,
  offers,
  owner,
  quantity,
  reference,
  workflow,
} from 'tidemark/fields'
import { isPrice } from './listings.ts'

/** Of a bid; per tonne. */
export type Terms = { readonly price: number }

const sellers = ['seller']

/** The seller's side accepts bids; whoever bid accepts what was countered. Nobody accepts their own: that the kind sees to. */
function mayAccept({ fold, entity, offer, person }: OfferQuestion<Terms>): string | null {
  const { state } = fold.read(entity, 'state') as { readonly state: string }
  if (state === 'cancelled') return 'cancelled'
  const isBid = offer !== null && (offer.to === null || offer.subject === offer.bidder.subject)
  return isBid && !sellers.some((role) => person.roles.includes(role)) ? 'not_allowed' : null
}

const acceptedIn = (read: (field: string) => unknown): Offer<Terms> | null =>
  (read('bids') as Offers<Terms>).accepted

const hasBuyer: Guard = (read) => acceptedIn(read) !== null

const isBuyer: Guard = (read, { subject }) => acceptedIn(read)?.bidder.subject === subject
const isParty: Guard = (read, person) =>
  sellers.some((role) => person.roles.includes(role)) || isBuyer(read, person)

export const deals = {
  fields: {
    listing: reference('listings/:id'),
    delivery: multiValue<string>((value) => typeof value === 'string' && value.length <= 500),
    /** Tonnes. Whoever was given some sells them without asking anybody. */
    stock: quantity({ roles: { supply: sellers, grant: sellers, callIn: sellers } }),
    bids: offers<Terms>({
      isTerms: (payload) => isPrice((payload as Partial<Terms> | null)?.price),
      guard: mayAccept,
      mayAnswer: sellers,
    }),
    state: workflow({
      states: ['open', 'shipped', 'invoiced', 'paid', 'cancelled'],
      initial: 'open',
      transitions: {
        ship: { from: 'open', to: 'shipped', consistency: 'decided', roles: sellers, guard: hasBuyer },
        invoice: { from: 'shipped', to: 'invoiced', consistency: 'decided', roles: sellers },
        pay: { from: 'invoiced', to: 'paid', consistency: 'decided', guard: isBuyer },
        cancel: { from: 'open', to: 'cancelled', consistency: 'decided', guard: isParty },
      },
    }),
    /** What the deal is about is its holder's to say; what others write there becomes a proposal. */
    holder: owner({ fields: ['listing', 'delivery'], roles: sellers }),
  },
}
