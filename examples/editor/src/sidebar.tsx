import { useEffect, useRef, useState } from 'react'
import { Anchor } from './anchor.tsx'
import { Icon } from './icon.tsx'
import { useListing } from './listing.ts'
import { linkTo, linkToOverview } from './place.ts'
import { nameOf, type Recents, useRecents } from './recents.ts'
import type { Session } from './session.ts'

/** Ids beyond this many are easier to find by typing. */
const filterFrom = 8

interface SidebarProps {
  readonly session: Session
  readonly recents: Recents
  readonly current: string | null
  readonly isOverview: boolean
  /** On a narrow screen it lies over the page and is opened. */
  readonly isOpen: boolean
  readonly onClose: () => void
  readonly onCreate: () => void
}

export function Sidebar({ session, recents, current, isOverview, isOpen, onClose, onCreate }: SidebarProps) {
  const recent = useRecents(recents)
  const listing = useListing(session, `${current}`)
  const [filter, setFilter] = useState('')
  const closing = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    if (!isOpen) return
    closing.current?.focus()
    const closeOnEscape = (event: KeyboardEvent): void => {
      if (event.key === 'Escape') onClose()
    }
    addEventListener('keydown', closeOnEscape)
    return () => removeEventListener('keydown', closeOnEscape)
  }, [isOpen, onClose])

  const titles = new Map(recent.map(({ id, title }) => [id, title]))
  const fits = (id: string): boolean => {
    const wanted = filter.trim().toLowerCase()
    return `${id} ${titles.get(id) ?? ''}`.toLowerCase().includes(wanted)
  }
  const listed = listing.state === 'listed' ? listing.ids : []
  const others = listed.filter((id) => !titles.has(id))
  const items = (ids: readonly string[]) => (
    <ul>
      {ids.filter(fits).map((id) => (
        <Item key={id} id={id} title={titles.get(id) ?? ''} isCurrent={id === current} onGo={onClose} />
      ))}
    </ul>
  )
  return (
    <>
      {isOpen && <div className="shade" onClick={onClose} aria-hidden="true" />}
      <nav className="sidebar" data-open={isOpen || undefined} aria-label="Documents">
        <header>
          <Anchor className="brand" to={linkTo(null)} onGo={onClose}>
            <svg viewBox="0 0 32 32" aria-hidden="true">
              <path d="M4 12c4-4.200 8-4.200 12 0s8 4.200 12 0" />
              <path d="M4 21c4-4.200 8-4.200 12 0s8 4.200 12 0" />
            </svg>
            Tidemark
          </Anchor>
          <button
            ref={closing}
            type="button"
            className="icon only-narrow"
            aria-label="Close"
            onClick={onClose}
          >
            <Icon name="close" />
          </button>
        </header>
        <button type="button" className="button create" onClick={onCreate}>
          <Icon name="plus" /> New document
        </button>
        <Anchor className="button create" to={linkToOverview()} isCurrent={isOverview} onGo={onClose}>
          <Icon name="search" /> Search and tasks
        </Anchor>
        {recent.length + others.length >= filterFrom && (
          <input
            className="filter"
            type="search"
            placeholder="Find a document"
            aria-label="Find a document"
            value={filter}
            onChange={(event) => setFilter(event.target.value)}
          />
        )}
        <div className="lists">
          {recent.length > 0 && <h2>Recent</h2>}
          {items(recent.map(({ id }) => id))}
          {others.length > 0 && <h2>On the server</h2>}
          {items(others)}
          {listing.state === 'listed' && listing.more && <p>There are more; open them by their link.</p>}
          {listing.state === 'listed' && recent.length + listed.length === 0 && (
            <p>Nothing here yet. Documents appear as they are written.</p>
          )}
          {listing.state === 'loading' && recent.length === 0 && <p>Asking the server …</p>}
          {listing.state === 'failed' && <p>{listing.why}</p>}
        </div>
        {current !== null && (
          <footer>
            <a href={`/embed?document=${encodeURIComponent(current)}`} target="_blank" rel="noreferrer">
              <Icon name="frame" /> See it on another site
            </a>
          </footer>
        )}
      </nav>
    </>
  )
}

interface ItemProps {
  readonly id: string
  readonly title: string
  readonly isCurrent: boolean
  readonly onGo: () => void
}

function Item({ id, title, isCurrent, onGo }: ItemProps) {
  return (
    <li>
      <Anchor to={linkTo(id)} isCurrent={isCurrent} onGo={onGo}>
        <span>{title || nameOf(id)}</span>
        <small>{id}</small>
      </Anchor>
    </li>
  )
}
