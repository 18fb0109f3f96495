import { useMemo, useSyncExternalStore } from 'react'
import { Failure } from '../../editor/src/failure.tsx'
import { Icon, type IconName } from '../../editor/src/icon.tsx'
import { OfflineSwitch, ThemeSwitch } from '../../editor/src/switches.tsx'
import { Anchor } from './anchor.tsx'
import { DealPage } from './deal-page.tsx'
import { itemsOf } from './inbox.ts'
import { InboxPage } from './inbox-page.tsx'
import type { Market } from './market.ts'
import { NewDeal } from './new-deal.tsx'
import { usePlace } from './place.ts'
import type { OnShelf } from './shelf.ts'
import { Side } from './side.tsx'
import { nameOf } from './words.ts'

export function App({ market }: { readonly market: Market }) {
  const place = usePlace()
  const shelf = useSyncExternalStore(market.shelf.subscribe, market.shelf.snapshot)
  const items = useMemo(() => itemsOf(shelf, market.acting), [shelf, market])
  const deal = place.name === 'deal' ? place.deal : null
  return (
    <div className="app" data-place={place.name}>
      <Side market={market} shelf={shelf} items={items} place={place} />
      <main className="page">
        <header className="bar">
          {place.name !== 'deals' && (
            <Anchor className="icon only-narrow" to={{ name: 'deals' }} label="All deals">
              <Icon name="menu" />
            </Anchor>
          )}
          <Badge shelf={shelf} />
          <span className="space" />
          <span className="me" title="This is you">
            {nameOf(market.acting.subject)}
          </span>
          <OfflineSwitch client={market.client} />
          <ThemeSwitch />
        </header>
        <Failure key={`${place.name} ${deal}`}>
          {place.name === 'deals' && <Welcome market={market} />}
          {place.name === 'new' && <NewDeal market={market} shelf={shelf} />}
          {place.name === 'inbox' && <InboxPage items={items} />}
          {deal !== null && <DealPage id={deal} market={market} items={items} />}
        </Failure>
      </main>
    </div>
  )
}

type Said = { readonly tone: string; readonly icon: IconName; readonly text: string }

function Badge({ shelf }: { readonly shelf: OnShelf }) {
  const said = saidOf(shelf)
  return (
    <output className="badge" data-tone={said.tone} aria-live="polite">
      <Icon name={said.icon} />
      <span>{said.text}</span>
    </output>
  )
}

function saidOf({ connection, pending }: OnShelf): Said {
  // First what would be missed: a telephone cuts off the rest.
  const keeping = (text: string): string => (pending === 0 ? text : `${pending} kept here · ${text}`)
  switch (connection) {
    case 'live':
      return pending === 0
        ? { tone: 'good', icon: 'check', text: 'Up to date' }
        : { tone: 'busy', icon: 'clock', text: `Saving ${pending === 1 ? '1 change' : `${pending} changes`}` }
    case 'opening':
      return { tone: 'quiet', icon: 'clock', text: 'Connecting …' }
    case 'away':
      return { tone: 'away', icon: 'away', text: keeping('No connection') }
    case 'refused':
      return { tone: 'bad', icon: 'alert', text: keeping('Refused') }
  }
}

function Welcome({ market }: { readonly market: Market }) {
  const isSomebody = market.acting.subject !== ''
  return (
    <section className="welcome">
      <svg className="waves" viewBox="0 0 220 60" aria-hidden="true">
        <path d="M6 22c18-18 34-18 52 0s34 18 52 0 34-18 52 0 34 18 52 0" />
        <path d="M6 44c18-18 34-18 52 0s34 18 52 0 34-18 52 0 34 18 52 0" />
      </svg>
      <h1>{isSomebody ? 'Choose a deal' : 'Who are you?'}</h1>
      {isSomebody ? (
        <p>
          Bid, accept and sell wherever you are. Without a connection everything goes on here, and says what
          still waits for the server.
        </p>
      ) : (
        <p>
          In a market it matters who says what. Start this example with{' '}
          <code>node examples/market/start.mjs</code>, and open one of the addresses that it prints: each is a
          person.
        </p>
      )}
    </section>
  )
}
