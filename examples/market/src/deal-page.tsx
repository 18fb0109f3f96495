import { useEffect, useState } from 'react'
import type { Done } from 'tidemark/client/domain'
import { useDomain } from 'tidemark/client/react/domain'
import { deals } from '../adapters/fields/deals.ts'
import { listings } from '../adapters/fields/listings.ts'
import { Agreement } from './agreement.tsx'
import { Anchor } from './anchor.tsx'
import { Bids } from './bids.tsx'
import { choicesIn, type Item } from './inbox.ts'
import { isSeller, type Listing, type Market } from './market.ts'
import { Notices } from './notices.tsx'
import { type PartProps, Waits } from './part.tsx'
import { Stock } from './stock.tsx'
import { Value } from './value.tsx'
import { mayMove, moves, refused, stateOf } from './words.ts'

interface DealPageProps {
  readonly id: string
  readonly market: Market
  readonly items: readonly Item[]
}

export function DealPage({ id, market, items }: DealPageProps) {
  const { client, acting, shelf } = market
  const deal = useDomain(client, id, deals, acting)
  const listing = useDomain(client, deal?.fields.listing.value ?? null, listings, acting)
  const [said, setSaid] = useState<string | null>(null)
  const domain = deal?.domain
  useEffect(() => {
    shelf.keep(id)
    // So that others can hand something out to this device.
    if (isSeller(acting)) domain?.introduce()
  }, [domain, acting, shelf, id])
  if (deal === null) return <div aria-busy="true" />
  const attempt = ({ refusal }: Done): void => setSaid(refusal === null ? null : refused(refusal))
  const part = { deal, market, attempt }
  const waiting = choicesIn(items.filter((item) => item.deal === id))
  return (
    <div className="column deal">
      <Heading listing={listing} {...part} />
      {said !== null && (
        <p className="notice" role="alert" data-tone="busy">
          {said}
          <button type="button" className="plain" onClick={() => setSaid(null)}>
            OK
          </button>
        </p>
      )}
      {waiting > 0 && (
        <p className="notice" data-tone="busy">
          {waiting === 1
            ? 'There are two versions of something here.'
            : `${waiting} things here have two versions.`}{' '}
          <Anchor to={{ name: 'inbox' }}>Choose in the inbox</Anchor>
        </p>
      )}
      <Notices {...part} />
      <Bids {...part} />
      <Stock {...part} />
      <Agreement {...part} />
    </div>
  )
}

function Heading({ listing, deal, market, attempt }: PartProps & { readonly listing: Listing | null }) {
  const { state, bids } = deal.fields
  const isSure =
    state.value.state === state.expected.state &&
    (bids.value.accepted === null) === (bids.expected.accepted === null)
  const harvest = listing?.fields.harvest.value.value ?? null
  const mayEdit = isSeller(market.acting)
  // On top of one's own that waits, if there is one.
  const last = state.value.pending.filter(({ isStale }) => !isStale).at(-1)
  return (
    <header className="heading">
      <p className="state">
        <span className="chip" data-state={stateOf(deal, 'expected')}>
          {stateOf(deal, 'expected')}
        </span>
        {!isSure && <Waits />}
      </p>
      <h1>{harvest ?? 'A listing that has not come yet'}</h1>
      {harvest === null && (
        <p className="quiet">The deal is here; what it is about follows as soon as the server has it.</p>
      )}
      {listing !== null && harvest !== null && (
        <dl>
          {(['asking', 'storage'] as const).map((field) => (
            <Value
              key={field}
              field={field}
              value={listing.fields[field].value}
              mayEdit={mayEdit}
              onSet={(value) =>
                attempt(
                  field === 'asking'
                    ? listing.fields.asking.do.set(Number(value))
                    : listing.fields.storage.do.set(value),
                )
              }
            />
          ))}
        </dl>
      )}
      <p className="actions">
        {state.expected.next
          .filter((name) => mayMove(name, deal.domain))
          .map((name) => (
            <button
              key={name}
              type="button"
              className={name === 'cancel' ? 'button' : 'button primary'}
              onClick={() => attempt(state.do.move(name, last === undefined ? {} : { at: last.version }))}
            >
              {moves[name]}
            </button>
          ))}
      </p>
    </header>
  )
}
