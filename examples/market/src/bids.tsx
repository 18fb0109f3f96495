import type { FormEvent } from 'react'
import type { Offer } from 'tidemark/fields'
import type { Terms } from '../adapters/fields/deals.ts'
import { isSeller } from './market.ts'
import { type PartProps, Waits } from './part.tsx'
import { price, who } from './words.ts'

const statuses: Readonly<Record<Offer<Terms>['status'], string>> = {
  open: '',
  accepted: 'Accepted',
  not_chosen: 'Not chosen',
  withdrawn: 'Withdrawn',
  countered: 'Answered with another price',
  closed: 'The bidding was closed',
  late: 'Came too late',
}

/** All bids there ever were, the highest first, with what became of each. */
export function Bids({ deal, market, attempt }: PartProps) {
  const { bids, state } = deal.fields
  const { subject } = market.acting
  const { offers, pending } = bids.value
  const isOpen = bids.expected.state === 'open' && state.expected.state === 'open'
  const bid = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault()
    attempt(bids.do.bid({ price: Number(new FormData(event.currentTarget).get('price')) }))
    event.currentTarget.reset()
  }
  return (
    <section className="part" aria-label="Bids">
      <h2>Bids</h2>
      {offers.length === 0 && <p className="quiet">Nobody has bid yet.</p>}
      <ol className="bids">
        {[...offers].sort(byPrice).map((offer) => {
          const { key, terms, status } = offer
          const asked = pending.filter((each) => each.offer === key)
          const isMine = offer.subject === subject
          const says = asked.length > 0 ? '' : statuses[status]
          return (
            <li key={key} data-status={status}>
              <strong>{price(terms.price)}</strong>
              <span>{isMine ? 'You' : who(offer.subject, subject)}</span>
              {asked.map((each) => (
                <Waits
                  key={each.key}
                  text={`Accepted by ${who(each.subject, subject)}, waiting for the server`}
                />
              ))}
              {says !== '' && <em>{says}</em>}
              {isOpen && status === 'open' && asked.length === 0 && (
                <span className="actions">
                  {isMine && (
                    <button type="button" className="button" onClick={() => attempt(bids.do.withdraw(key))}>
                      Withdraw
                    </button>
                  )}
                  {isSeller(market.acting) && !isMine && (
                    <button
                      type="button"
                      className="button"
                      onClick={() =>
                        attempt(bids.do.accept(key, { subject, roles: market.acting.roles ?? [] }))
                      }
                    >
                      Accept<span className="unseen"> {price(terms.price)}</span>
                    </button>
                  )}
                </span>
              )}
            </li>
          )
        })}
      </ol>
      {isOpen && !isSeller(market.acting) && (
        <form className="line" onSubmit={bid}>
          <label>
            Your bid, € a tonne
            <input name="price" type="number" required min={1} max={1_000_000} step={1} />
          </label>
          <button type="submit" className="button primary">
            Bid
          </button>
        </form>
      )}
    </section>
  )
}

const byPrice = (a: Offer<Terms>, b: Offer<Terms>): number => b.terms.price - a.terms.price
