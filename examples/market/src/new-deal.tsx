import { type FormEvent, useState } from 'react'
import type { Market } from './market.ts'
import { goTo } from './place.ts'
import type { OnShelf } from './shelf.ts'

/** The newest sort last, and nobody else has the same. */
function newId(): string {
  const letters = 'abcdefghijkmnpqrstuvwxyz23456789'
  const random = crypto.getRandomValues(new Uint8Array(6))
  return `${Date.now().toString(36)}-${Array.from(random, (byte) => letters[byte % letters.length]).join('')}`
}

/** A deal about a listing that is there, or about a new one. It can be made without a connection, like everything else. */
export function NewDeal({ market, shelf }: { readonly market: Market; readonly shelf: OnShelf }) {
  const [of, setOf] = useState('')
  const make = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault()
    const given = new FormData(event.currentTarget)
    const text = (name: string): string => String(given.get(name) ?? '').trim()
    const listingId = of === '' ? `listings/${newId()}` : of
    const listing = market.shelf.keepListing(listingId)
    const dealId = `deals/${newId()}`
    const deal = market.shelf.keep(dealId)
    await Promise.all([listing.handle.whenLoaded, deal.handle.whenLoaded])
    if (of === '') {
      listing.fields.harvest.do.set(text('harvest'))
      listing.fields.asking.do.set(Number(text('asking')))
      if (text('storage') !== '') listing.fields.storage.do.set(text('storage'))
    }
    const { acting } = market
    deal.fields.listing.do.set(listingId)
    if (text('delivery') !== '') deal.fields.delivery.do.set(text('delivery'))
    deal.fields.holder.do.handOver(acting.subject)
    deal.fields.stock.do.supply(Number(text('amount')))
    goTo({ name: 'deal', deal: dealId })
  }
  return (
    <form className="column form" onSubmit={(event) => void make(event)}>
      <h1>A new deal</h1>
      {shelf.listings.length > 0 && (
        <label>
          About
          <select value={of} onChange={(event) => setOf(event.target.value)}>
            <option value="">a new listing</option>
            {shelf.listings.map(({ id, fields }) => (
              <option key={id} value={id}>
                {fields.harvest.value.value}
              </option>
            ))}
          </select>
        </label>
      )}
      {of === '' && (
        <>
          <label>
            Harvest
            <input name="harvest" required maxLength={200} placeholder="Cox’s Orange Pippin, lower field" />
          </label>
          <label>
            Asking price, € a tonne
            <input name="asking" required type="number" min={1} max={1_000_000} step={1} />
          </label>
          <label>
            Stored
            <input name="storage" maxLength={200} placeholder="Cool store 2, until March" />
          </label>
        </>
      )}
      <label>
        Tonnes
        <input name="amount" required type="number" min={1} max={1_000_000} step={1} />
      </label>
      <label>
        Delivery
        <input name="delivery" maxLength={500} placeholder="Free to the gate" />
      </label>
      <p className="actions">
        <button type="submit" className="button primary">
          Make the deal
        </button>
      </p>
    </form>
  )
}
