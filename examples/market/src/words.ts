/** What happened and why, as people would say it. */
import type { Domain, Fact, Refusal } from 'tidemark/client/domain'
import type { deals } from '../adapters/fields/deals.ts'

type DealDomain = Pick<
  Domain<typeof deals>,
  'fields' | 'subjectOf' | 'outcome' | 'intents' | 'facts' | 'acting'
>

const euros = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR', maximumFractionDigits: 0 })
export const price = (perTonne: number): string => euros.format(perTonne)
export const tonnes = (amount: number): string => `${amount} t`

const times = new Intl.DateTimeFormat(undefined, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
})
/** By the clock of who wrote it. */
export const when = (atMs: number): string => times.format(atMs)

/** `ida` is Ida. */
export function nameOf(subject: string | null): string {
  if (subject === null || subject === '') return 'Somebody'
  return subject.charAt(0).toUpperCase() + subject.slice(1)
}

export const whose = (subject: string, me: string): string =>
  subject === me ? 'your' : `${nameOf(subject)}’s`
export const who = (subject: string | null, me: string): string => (subject === me ? 'you' : nameOf(subject))

export const labels: Readonly<Record<string, string>> = {
  harvest: 'Harvest',
  asking: 'Asking price',
  storage: 'Stored',
  delivery: 'Delivery',
  listing: 'Listing',
}

/** Of a field with one value. */
export const shown = (field: string, value: unknown): string =>
  field === 'asking' && typeof value === 'number' ? `${price(value)} a tonne` : String(value ?? '')

export function stateOf({ fields }: Pick<DealDomain, 'fields'>, as: 'value' | 'expected'): string {
  const { state } = fields.state[as]
  if (state !== 'open') return `${state.charAt(0).toUpperCase()}${state.slice(1)}`
  return fields.bids[as].accepted === null ? 'Open for bids' : 'Agreed'
}

export const moves = {
  ship: 'Ship',
  invoice: 'Send the invoice',
  pay: 'Pay',
  cancel: 'Cancel the deal',
} as const

/** What somebody did, or asked for. */
export function what({ type, payload }: Fact, deal: DealDomain): string {
  const { subject: me } = deal.acting
  const terms = payload as { amount?: number; to?: string | null; actor?: string; value?: unknown }
  const amount = tonnes(terms.amount ?? 0)
  const [field = '', operation = ''] = type.split('.')
  switch (type) {
    case 'bids.accept': {
      const offer = deal.fields.bids.value.offers.find(({ key }) => key === payload)
      return offer === undefined
        ? 'Accept a bid'
        : `Accept ${whose(offer.subject, me)} ${price(offer.terms.price)}`
    }
    case 'stock.take':
      return `Sell ${amount}`
    case 'stock.supply':
      return `Bring in ${amount}`
    case 'stock.grant':
      return `Hand out ${amount} to ${who(deal.subjectOf(terms.to ?? ''), me)}`
    case 'stock.callIn':
      return `Call in what ${who(deal.subjectOf(terms.actor ?? ''), me)} may sell`
    case 'holder.handOver':
      return terms.to === me ? 'Take the deal over' : `Hand the deal to ${nameOf(terms.to ?? null)}`
    case 'holder.takeOver':
      return 'Take over a proposal'
    case 'holder.decline':
      return 'Decline a proposal'
    default:
      if (field === 'state') return moves[operation as keyof typeof moves] ?? operation
      return `${labels[field] ?? field}: ${shown(field, terms.value)}`
  }
}

/** Why it did not count, by the reasons of docs/domain.md. */
export function why({ outcome, type }: Pick<Fact, 'outcome' | 'type'>, deal: DealDomain): string {
  const { subject: me } = deal.acting
  const { accepted } = deal.fields.bids.value
  const by = (key: string | undefined): string =>
    who(deal.subjectOf((key ?? '').replace('@', '').split(':')[0] ?? ''), me)
  switch (outcome.reason) {
    case 'closed': {
      if (accepted === null) return 'The bidding was over.'
      const decidedBy = deal.outcome(accepted.key)?.by
      const first = by(decidedBy)
      return `${capital(first)} had accepted ${whose(accepted.subject, me)} ${price(accepted.terms.price)} before.`
    }
    case 'withdrawn':
      return 'That bid had been withdrawn.'
    case 'countered':
      return 'That bid had been answered with another price.'
    case 'claimed':
      return 'This harvest was sold in another deal.'
    case 'stale':
    case 'not_possible': {
      if (type.startsWith('holder.')) return 'Somebody else took the deal over before.'
      const last = deal.fields.state.value.history.at(-1)
      if (last === undefined) return 'The deal had gone on meanwhile.'
      return `${capital(who(last.subject, me))} had been first. The deal is ${last.state}.`
    }
    case 'guard':
      return 'No bid has been accepted yet.'
    case 'not_allowed':
      return 'That is for others to do.'
    case 'late':
      return 'It came after the bidding was over.'
    default:
      return refused({ reason: outcome.reason ?? '', detail: outcome.detail ?? {} })
  }
}

export function refused({ reason, detail }: Refusal): string {
  const { left = 0, free = 0 } = detail as { left?: number; free?: number }
  switch (reason) {
    case 'insufficient_rights':
      return `You can sell ${tonnes(left)} now; ${tonnes(free)} are not handed out to anybody.`
    case 'not_holder':
      return 'Somebody else holds this deal now.'
    case 'no_proposal':
      return 'That was settled meanwhile.'
    case 'own_offer':
      return 'That bid is your own.'
    case 'not_party':
    case 'not_yours':
      return 'That is between the seller and whoever made the bid.'
    case 'no_such_offer':
    case 'unknown_version':
    case 'unknown_epoch':
      return 'That is not here yet; look again in a moment.'
    case 'cancelled':
      return 'The deal was cancelled.'
    case 'no_side':
    case 'conflict':
      return 'There are two versions of this. Choose one in the inbox first.'
    case 'conflict_changed':
      return 'There is another version meanwhile; look again.'
    case 'no_conflict':
      return 'Somebody has settled this meanwhile.'
    case 'closed':
      return 'The bidding is over.'
    case 'declined':
      return 'Whoever holds the deal declined it.'
    case 'called_in':
      return 'What this device could sell was called in.'
    case 'malformed_payload':
      return 'That cannot be right; look at the number once more.'
    case 'not_loaded':
      return 'This is still being opened.'
    default:
      return `It was not possible (${reason}).`
  }
}

/** What one could do now, in words. */
export function possible(deal: DealDomain): string {
  const { state, bids } = deal.fields
  const mine = state.value.next.filter((name) => mayMove(name, deal))
  const open = bids.value.state === 'open' && isOfSeller(deal) ? bids.value.offers.filter(isOpen).length : 0
  const bidsLeft =
    open === 0 ? [] : [open === 1 ? 'accept the bid that is open' : `accept one of ${open} bids`]
  const all = [...bidsLeft, ...mine.map((name) => moves[name].toLowerCase())]
  return all.length === 0 ? 'There is nothing more for you to do.' : `You can still ${all.join(' or ')}.`
}

/** As far as this device knows. Nothing is shipped on an acceptance that the server may reject: another buyer's may have been first. */
export function mayMove(name: keyof typeof moves, { fields, acting }: DealDomain): boolean {
  const isSeller = acting.roles?.includes('seller') ?? false
  const { accepted } = fields.bids.value
  const isBuyer = accepted?.bidder.subject === acting.subject
  switch (name) {
    case 'ship':
      return isSeller && accepted !== null
    case 'invoice':
      return isSeller
    case 'pay':
      return isBuyer
    case 'cancel':
      return isSeller || isBuyer
  }
}

/** What it waits for: the server, another of one's own that waits, or whoever holds the deal. */
export function waitsFor(fact: Fact, deal: DealDomain): string {
  if (fact.outcome.reason === 'proposal') return `Waiting for ${nameOf(deal.fields.holder.value.holder)}`
  const { at } = (fact.payload ?? {}) as { at?: string }
  const before = deal.intents().find(({ key }) => key === at)
  if (before === undefined) return 'Waiting for the server'
  return `Waiting for the server; only if “${what(before, deal)}” goes through`
}

const isOfSeller = ({ acting }: DealDomain): boolean => acting.roles?.includes('seller') ?? false
const isOpen = ({ status }: { readonly status: string }): boolean => status === 'open'
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
