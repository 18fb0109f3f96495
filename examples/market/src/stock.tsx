import type { FormEvent } from 'react'
import { rightsOf } from 'tidemark/fields'
import { isSeller } from './market.ts'
import { type PartProps, Waits } from './part.tsx'
import { nameOf, tonnes } from './words.ts'

/** What is there, and who may sell how much of it without asking anybody. */
export function Stock({ deal, market, attempt }: PartProps) {
  const { stock, state } = deal.fields
  const { acting } = market
  const { value, free, moving } = stock.expected
  const mine = rightsOf(stock.value, acting.actor)
  const people = sellersIn(deal)
  const isSure = stock.value.value === value && stock.value.free === free
  const isOver = state.value.state === 'cancelled'
  const amountIn = (event: FormEvent<HTMLFormElement>): number => {
    event.preventDefault()
    return Number(new FormData(event.currentTarget).get('amount'))
  }
  return (
    <section className="part" aria-label="Stock">
      <h2>Stock</h2>
      <p className="figures">
        <strong data-figure="stock">{tonnes(value)}</strong> in store
        {isSeller(acting) && (
          <>
            {' · '}
            <strong data-figure="mine">{tonnes(mine)}</strong> yours to sell, also without a connection
          </>
        )}
        {!isSure && <Waits />}
      </p>
      {isSeller(acting) && !isOver && (
        <>
          <form
            className="line"
            onSubmit={(event) => {
              attempt(stock.do.take(amountIn(event)))
              event.currentTarget.reset()
            }}
          >
            <label>
              Sell, tonnes
              <input name="amount" type="number" required min={1} step={1} />
            </label>
            <button type="submit" className="button">
              Sell
            </button>
          </form>
          <ul className="rights">
            {people.map(({ actor, name }) => (
              <li key={actor}>
                <span>{actor === acting.actor ? 'You' : name}</span>
                <strong>{tonnes(rightsOf(stock.expected, actor))}</strong>
                {actor !== acting.actor && rightsOf(stock.value, actor) > 0 && (
                  <button
                    type="button"
                    className="plain"
                    title="When the device is lost"
                    onClick={() => attempt(stock.do.callIn(actor))}
                  >
                    Call in
                  </button>
                )}
              </li>
            ))}
            <li>
              <span>Nobody yet</span>
              <strong>{tonnes(free + moving)}</strong>
            </li>
          </ul>
          {free > 0 && (
            <form
              className="line"
              onSubmit={(event) => {
                const amount = amountIn(event)
                const actor = String(new FormData(event.currentTarget).get('to'))
                attempt(stock.do.grant(amount, actor))
                event.currentTarget.reset()
              }}
            >
              <label>
                Hand out, tonnes
                <input name="amount" type="number" required min={1} max={free} step={1} />
              </label>
              <label>
                to
                <select aria-label="To whom" name="to">
                  {people.map(({ actor, name }) => (
                    <option key={actor} value={actor}>
                      {actor === acting.actor ? 'yourself' : name}
                    </option>
                  ))}
                </select>
              </label>
              <button type="submit" className="button">
                Hand out
              </button>
            </form>
          )}
        </>
      )}
    </section>
  )
}

/** Devices of those who have been here and do not bid; a second one of somebody has a number. */
function sellersIn({ domain, fields }: PartProps['deal']): { actor: string; name: string }[] {
  const bidders = new Set(fields.bids.value.offers.map(({ bidder }) => bidder.subject))
  const { rights } = fields.stock.value
  const counts = new Map<string, number>()
  return [...domain.actors()]
    .filter(([actor, subject]) => !bidders.has(subject) || Object.hasOwn(rights, actor))
    .map(([actor, subject]) => {
      const count = (counts.get(subject) ?? 0) + 1
      counts.set(subject, count)
      return { actor, name: count === 1 ? nameOf(subject) : `${nameOf(subject)} (${count})` }
    })
}
