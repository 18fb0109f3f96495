/** The documents that the server has and this user may read; asked for when the page comes up and when it is looked at again. */
import { useEffect, useState } from 'react'
import type { Session } from './session.ts'

export type Listing =
  | { readonly state: 'loading' }
  | { readonly state: 'listed'; readonly ids: readonly string[]; readonly more: boolean }
  /** `why` is for people. */
  | { readonly state: 'failed'; readonly why: string }

const shownMax = 200
const answerMsMax = 10_000

/** `version`: a change asks again. */
export function useListing(session: Session, version: string): Listing {
  const [listing, setListing] = useState<Listing>({ state: 'loading' })
  // biome-ignore lint/correctness/useExhaustiveDependencies: `version` says when to ask again.
  useEffect(() => {
    const ended = new AbortController()
    const ask = (): void => {
      const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(answerMsMax)])
      list(session, signal).then(
        (next) => setListing(next),
        (error: unknown) => {
          if (ended.signal.aborted) return
          console.debug('the list of documents could not be had', error)
          // What was listed before is still a list.
          setListing((before) =>
            before.state === 'listed'
              ? before
              : { state: 'failed', why: 'The server cannot be reached. Recent documents work offline.' },
          )
        },
      )
    }
    ask()
    addEventListener('focus', ask)
    addEventListener('online', ask)
    return () => {
      ended.abort()
      removeEventListener('focus', ask)
      removeEventListener('online', ask)
    }
  }, [session, version])
  return listing
}

async function list(session: Session, signal: AbortSignal): Promise<Listing> {
  const answer = await fetch(`/v1/documents?limit=${shownMax}`, { headers: session.headers(), signal })
  if (answer.status === 401) return { state: 'failed', why: 'Sign in to see the documents here.' }
  if (answer.status === 403) return { state: 'failed', why: 'You may open documents by their link only.' }
  if (!answer.ok) return { state: 'failed', why: `The server answered ${answer.status}.` }
  const { documents, next } = (await answer.json()) as {
    documents: { id: string }[]
    next: string | null
  }
  return { state: 'listed', ids: documents.map(({ id }) => id), more: next !== null }
}
