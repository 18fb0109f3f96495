import { type ReactNode, useState } from 'react'
import type { Handle } from 'tidemark/client'
import type { DocumentStatus } from 'tidemark/client/react'
import { copyInto } from './content.ts'
import { goTo, newDocumentId } from './place.ts'
import type { Session } from './session.ts'

interface NoticesProps {
  readonly id: string
  readonly session: Session
  readonly handle: Handle
  readonly status: DocumentStatus
}

/** What somebody must know or decide, above the text; nothing when all is well. */
export function Notices({ id, session, handle, status }: NoticesProps) {
  const { aside, error, storage, pending } = status
  if (aside !== null) return <SetAside session={session} handle={handle} />
  if (status.status === 'refused')
    return (
      <Notice tone="bad" heading={refusals[error?.code ?? ''] ?? 'The server refused this document.'}>
        <p>
          {error?.message}. {pending > 0 && `${edits(pending)} of yours are kept on this device.`}
        </p>
        <p className="actions">
          <button type="button" className="button" onClick={() => session.client.retry()}>
            Try again
          </button>
        </p>
      </Notice>
    )
  if (storage === 'memory')
    return (
      <Notice tone="away" heading="This browser keeps no copy">
        <p>
          Its storage is full, blocked or was cleared. You can go on writing in {id}, but what is not yet
          saved is lost when you close this tab.
        </p>
      </Notice>
    )
  return null
}

const refusals: Readonly<Record<string, string>> = {
  token_expired: 'Your sign-in has ended.',
  unauthenticated: 'You are not signed in.',
  revoked: 'Your access was ended.',
  forbidden: 'You may not read this document.',
  read_only: 'You may read this document, not change it.',
  origin_forbidden: 'This site may not use the server.',
  invalid_document_id: 'That is not the name of a document.',
}

function SetAside({ session, handle }: { readonly session: Session; readonly handle: Handle }) {
  const [isBusy, setIsBusy] = useState(false)
  const [failure, setFailure] = useState('')
  const unsaved = handle.aside?.unsaved ?? 0
  const act = (action: () => Promise<void>) => () => {
    setIsBusy(true)
    action().catch((error: unknown) => {
      setIsBusy(false)
      setFailure(error instanceof Error ? error.message : String(error))
    })
  }
  const keep = async (): Promise<void> => {
    const copy = await handle.recover()
    if (copy === null) throw new Error('The copy could not be read')
    const next = newDocumentId()
    const target = session.client.open(next)
    await target.whenLoaded
    copyInto(target.doc, copy)
    await handle.discard()
    goTo(next)
    // The page has opened it too by then, so this ends only our use of it.
    setTimeout(() => void target.close(), 1_000)
  }
  return (
    <Notice tone="bad" heading="This document was deleted, or deleted and begun anew">
      <p>
        The copy on this device belongs to the old one, so it was set aside
        {unsaved > 0 ? `, with ${edits(unsaved)} that nobody else has` : ''}. Nothing of it was mixed into the
        present one.
      </p>
      {failure !== '' && <p role="alert">{failure}</p>}
      <p className="actions">
        <button type="button" className="button primary" disabled={isBusy} onClick={act(keep)}>
          Keep my copy as a new document
        </button>
        <button type="button" className="button" disabled={isBusy} onClick={act(() => handle.reset())}>
          Open the present one
        </button>
      </p>
    </Notice>
  )
}

const edits = (count: number): string => (count === 1 ? '1 edit' : `${count} edits`)

interface NoticeProps {
  readonly tone: 'bad' | 'away'
  readonly heading: string
  readonly children: ReactNode
}

function Notice({ tone, heading, children }: NoticeProps) {
  return (
    <section className="notice" data-tone={tone} aria-label={heading}>
      <h2>{heading}</h2>
      {children}
    </section>
  )
}
