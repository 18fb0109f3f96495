import { useState } from 'react'
import { DocumentPage } from './document-page.tsx'
import { Failure } from './failure.tsx'
import { Icon } from './icon.tsx'
import { OverviewPage } from './overview-page.tsx'
import { personOf } from './person.ts'
import { goTo, isEmbedded, newDocumentId, useDocumentId, useIsOverview } from './place.ts'
import { recentsOf } from './recents.ts'
import type { Session } from './session.ts'
import { Sidebar } from './sidebar.tsx'

export function App({ session }: { readonly session: Session }) {
  const id = useDocumentId()
  const isOverview = useIsOverview() && id === null
  const [person] = useState(() => personOf(session.user))
  const [recents] = useState(() => recentsOf(session.user))
  const [menuIsOpen, setMenuIsOpen] = useState(false)
  const embedded = isEmbedded()

  const create = (): void => {
    goTo(newDocumentId())
    setMenuIsOpen(false)
  }
  const openMenu = embedded ? null : () => setMenuIsOpen(true)
  return (
    <div className="app" data-embedded={embedded || undefined}>
      {!embedded && (
        <Sidebar
          session={session}
          recents={recents}
          current={id}
          isOverview={isOverview}
          isOpen={menuIsOpen}
          onClose={() => setMenuIsOpen(false)}
          onCreate={create}
        />
      )}
      {isOverview && (
        <Failure>
          <OverviewPage client={session.client} onMenu={openMenu} />
        </Failure>
      )}
      {id === null && !isOverview && <Welcome onCreate={create} onMenu={openMenu} />}
      {id !== null && (
        <Failure key={id}>
          <DocumentPage id={id} session={session} person={person} recents={recents} onMenu={openMenu} />
        </Failure>
      )}
    </div>
  )
}

function Welcome({
  onCreate,
  onMenu,
}: {
  readonly onCreate: () => void
  readonly onMenu: (() => void) | null
}) {
  return (
    <main className="welcome">
      {onMenu !== null && (
        <button type="button" className="icon menu" aria-label="Documents" onClick={onMenu}>
          <Icon name="menu" />
        </button>
      )}
      <svg className="waves" viewBox="0 0 220 60" aria-hidden="true">
        <path d="M6 22c18-18 34-18 52 0s34 18 52 0 34-18 52 0 34 18 52 0" />
        <path d="M6 44c18-18 34-18 52 0s34 18 52 0 34-18 52 0 34 18 52 0" />
      </svg>
      <h1>Write together, near or far</h1>
      <p>
        A document is kept on this device as you write, so a lost connection loses nothing. The badge at its
        top says “Saved” only when the server has your edits on disk.
      </p>
      <p className="actions">
        <button type="button" className="button primary" onClick={onCreate}>
          <Icon name="plus" /> New document
        </button>
        <button type="button" className="button" onClick={() => goTo('notes/welcome')}>
          Open notes/welcome
        </button>
      </p>
    </main>
  )
}
