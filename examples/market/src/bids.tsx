import { type FormEvent, useState } from 'react'
import type { Acting } from 'tidemark/client/domain'
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
  countered: 'Answered',
  closed: 'The bidding was closed',
  late: 'Came too late',
}

/** All bids there ever were, and what was answered, the highest first, with what became of each. */
export function Bids(props: PartProps) {
  const { bids, state } = props.deal.fields
  const { offers } = bids.value
  const isOpen = bids.expected.state === 'open' && state.expected.state === 'open'
  return (
    <section className="part" aria-label="Bids">
      <h2>Bids</h2>
      {offers.length === 0 && <p className="quiet">Nobody has bid yet.</p>}
      <ol className="bids">
        {[...offers].sort(byPrice).map((offer) => (
          <Line key={offer.key} offer={offer} isOpen={isOpen} {...props} />
        ))}
      </ol>
      {isOpen && !isSeller(props.market.acting) && (
        <PriceForm
          label="Your bid, € a tonne"
          verb="Bid"
          onPrice={(given) => props.attempt(bids.do.bid({ price: given }))}
        />
      )}
    </section>
  )
}

type LineProps = PartProps & { readonly offer: Offer<Terms>; readonly isOpen: boolean }

function Line({ offer, isOpen, deal, market, attempt }: LineProps) {
  const [isAnswered, setAnswered] = useState(false)
  const { bids } = deal.fields
  const { acting } = market
  const { key, terms, status, subject, bidder } = offer
  const asked = bids.value.pending.filter((each) => each.offer === key)
  const says = asked.length > 0 ? '' : statuses[status]
  const isLeft = isOpen && status === 'open' && asked.length === 0
  const answers = isLeft && isForMe(offer, acting)
  return (
    <li data-status={status}>
      <strong>{price(terms.price)}</strong>
      <span>
        {subject === acting.subject ? 'You' : who(subject, acting.subject)}
        {subject !== bidder.subject && ` to ${who(bidder.subject, acting.subject)}`}
      </span>
      {asked.map((each) => (
        <Waits
          key={each.key}
          text={`Accepted by ${who(each.subject, acting.subject)}, waiting for the server`}
        />
      ))}
      {says !== '' && <em>{says}</em>}
      {isLeft && !isAnswered && (
        <span className="actions">
          {subject === acting.subject && (
            <button type="button" className="button" onClick={() => attempt(bids.do.withdraw(key))}>
              Withdraw<span className="unseen"> {price(terms.price)}</span>
            </button>
          )}
          {answers && (
            <>
              <button type="button" className="button" onClick={() => setAnswered(true)}>
                Answer<span className="unseen"> {price(terms.price)}</span>
              </button>
              <button
                type="button"
                className="button"
                onClick={() => attempt(bids.do.accept(key, { roles: [], ...acting }))}
              >
                Accept<span className="unseen"> {price(terms.price)}</span>
              </button>
            </>
          )}
        </span>
      )}
      {answers && isAnswered && (
        <PriceForm
          label="Another price, € a tonne"
          verb="Offer"
          onGone={() => setAnswered(false)}
          onPrice={(given) => attempt(bids.do.counter(key, { price: given }))}
        />
      )}
    </li>
  )
}

/** What a dealer offered is for the sellers to answer, and what a seller offered for that dealer. */
function isForMe({ subject, bidder }: Offer<Terms>, acting: Acting): boolean {
  return subject === bidder.subject ? isSeller(acting) : bidder.subject === acting.subject
}

interface PriceFormProps {
  readonly label: string
  readonly verb: string
  readonly onPrice: (price: number) => void
  /** It has come in the place of a button, and goes again. */
  readonly onGone?: () => void
}

function PriceForm({ label, verb, onPrice, onGone }: PriceFormProps) {
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault()
    onPrice(Number(new FormData(event.currentTarget).get('price')))
    event.currentTarget.reset()
    onGone?.()
  }
  return (
    <form className="line" onSubmit={submit}>
      <label>
        {label}
        <input
          name="price"
          type="number"
          required
          min={1}
          max={1_000_000}
          step={1}
          // biome-ignore lint/a11y/noAutofocus: where a button was pressed
          autoFocus={onGone !== undefined}
          onKeyDown={({ key }) => key === 'Escape' && onGone?.()}
        />
      </label>
      <button type="submit" className="button primary">
        {verb}
      </button>
    </form>
  )
}

const byPrice = (a: Offer<Terms>, b: Offer<Terms>): number => b.terms.price - a.terms.price
