import { Icon } from '../../editor/src/icon.tsx'
import { Anchor } from './anchor.tsx'
import { choicesIn, type Item, titleOf } from './inbox.ts'
import { isSeller, type Market } from './market.ts'
import type { Place } from './place.ts'
import type { Kept, OnShelf } from './shelf.ts'
import { price, stateOf } from './words.ts'

interface SideProps {
  readonly market: Market
  readonly shelf: OnShelf
  readonly items: readonly Item[]
  readonly place: Place
}

/** All deals of this device, and the way to what waits. */
export function Side({ market, shelf, items, place }: SideProps) {
  const count = choicesIn(items)
  return (
    <nav className="sidebar" aria-label="Deals">
      <Anchor className="brand" to={{ name: 'deals' }}>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M4 12c4-4.200 8-4.200 12 0s8 4.200 12 0" />
          <path d="M4 21c4-4.200 8-4.200 12 0s8 4.200 12 0" />
        </svg>
        Market
      </Anchor>
      <Anchor className="button wide" to={{ name: 'inbox' }} isCurrent={place.name === 'inbox'}>
        <Icon name="tasks" /> Inbox
        {items.length > 0 && (
          <small className="count" data-tone={count > 0 ? 'busy' : 'away'}>
            {items.length}
            <span className="unseen">{items.length === 1 ? ' matter waits' : ' matters wait'}</span>
          </small>
        )}
      </Anchor>
      {isSeller(market.acting) && (
        <Anchor className="button wide" to={{ name: 'new' }} isCurrent={place.name === 'new'}>
          <Icon name="plus" /> New deal
        </Anchor>
      )}
      <ul className="deals">
        {shelf.deals.map((kept) => (
          <li key={kept.id}>
            <Entry kept={kept} isCurrent={place.name === 'deal' && place.deal === kept.id} />
          </li>
        ))}
      </ul>
      {shelf.refusal !== null && <p className="quiet">Refused: {shelf.refusal}</p>}
      {shelf.refusal === null && shelf.deals.length === 0 && (
        <p className="quiet">
          {shelf.list === 'live'
            ? 'No deals yet. They appear here as sellers make them.'
            : 'Looking for deals …'}
        </p>
      )}
    </nav>
  )
}

function Entry({ kept, isCurrent }: { readonly kept: Kept; readonly isCurrent: boolean }) {
  const { id, deal, listing } = kept
  const { bids, stock } = deal.fields
  const ofBidders = bids.value.offers.filter(({ subject, bidder }) => subject === bidder.subject)
  const prices = ofBidders.map(({ terms }) => terms.price)
  const best = prices.length === 0 ? 'no bids' : `best bid ${price(Math.max(...prices))}`
  return (
    <Anchor to={{ name: 'deal', deal: id }} isCurrent={isCurrent}>
      <strong>{titleOf(listing)}</strong>
      <small>
        {stateOf(deal, 'expected')} · {stock.expected.value} t · {best}
      </small>
    </Anchor>
  )
}
