import { useEffect, useState } from 'react'
import { type DocumentStatus, type OpenDocument, useDocument, useStatus } from 'tidemark/client/react'
import type { Doc } from 'yjs'
import { isBlank } from './content.ts'
import { Icon } from './icon.tsx'
import { Notices } from './notices.tsx'
import { type Person, usePerson } from './person.ts'
import { Presence } from './presence.tsx'
import { nameOf, noteRecent, type Recents } from './recents.ts'
import { SavedBadge } from './saved-badge.tsx'
import type { Session } from './session.ts'
import type { Stored } from './stored.ts'
import { OfflineSwitch, ThemeSwitch } from './switches.tsx'
import { TextEditor } from './text-editor.tsx'
import { Title } from './title.tsx'

interface PageProps {
  readonly id: string
  readonly session: Session
  readonly person: Stored<Person>
  readonly recents: Recents
  /** Null where there is no menu. */
  readonly onMenu: (() => void) | null
}

export function DocumentPage(props: PageProps) {
  const open = useDocument(props.session.client, props.id)
  if (open === null) return <main className="page" aria-busy="true" />
  return <OpenPage key={open.doc.guid} open={open} {...props} />
}

function OpenPage({
  open,
  id,
  session,
  person: stored,
  recents,
  onMenu,
}: PageProps & { open: OpenDocument }) {
  const { handle, doc, awareness } = open
  const status = useStatus(handle)
  const person = usePerson(stored)
  const [title, setTitle] = useState('')

  useEffect(() => {
    awareness.setLocalStateField('user', person)
  }, [awareness, person])
  useEffect(() => {
    document.title = `${title || nameOf(id)} · Tidemark`
    // What could not be opened is nothing to come back to.
    if (status.synced || title !== '') noteRecent(recents, { id, title })
  }, [id, title, recents, status.synced])

  return (
    <main className="page">
      <header className="bar">
        {onMenu !== null && (
          <button type="button" className="icon menu" aria-label="Documents" onClick={onMenu}>
            <Icon name="menu" />
          </button>
        )}
        <SavedBadge status={status} />
        <span className="space" />
        <Presence handle={handle} isConnected={status.status === 'live'} person={stored} />
        <OfflineSwitch client={session.client} />
        <ThemeSwitch />
      </header>
      <Notices id={id} session={session} handle={handle} status={status} />
      {useIsKnown(doc, status) && (
        <TextEditor
          doc={doc}
          awareness={awareness}
          person={person}
          isEditable={status.access !== 'read' && !isLocked(status)}
          title={
            <Title doc={doc} isEditable={status.access !== 'read' && !isLocked(status)} onTitle={setTitle} />
          }
        />
      )}
    </main>
  )
}

/** Until it is known what there is, an empty page would look like a lost document. */
function useIsKnown(doc: Doc, { loaded, synced, status, error }: DocumentStatus): boolean {
  const isAway = status === 'offline' || (status !== 'refused' && error !== null)
  const isKnown = synced || (loaded && (isAway || !isBlank(doc)))
  const [wasKnown, setWasKnown] = useState(false)
  if (isKnown && !wasKnown) setWasKnown(true)
  return isKnown || wasKnown
}

/** What is typed after such a refusal would never be saved; after the end of a token it will be, with the next one. */
function isLocked({ status, error }: DocumentStatus): boolean {
  return status === 'refused' && error?.code !== 'token_expired'
}
