/** Where in the app one is: `/?document=notes%2Fwelcome`, `/?overview`; with `&embed` inside another page's frame. */
import { useSyncExternalStore } from 'react'

const moved = 'tidemark-moved'

export function useDocumentId(): string | null {
  return useSyncExternalStore(subscribe, documentId)
}

/** Search, and the tasks of all documents. */
export function useIsOverview(): boolean {
  return useSyncExternalStore(subscribe, isOverview)
}

export const isEmbedded = (): boolean => new URL(location.href).searchParams.has('embed')

/** Whether to show the devtools: while developing, or when asked for with `?devtools`. */
export const showsDevtools = (): boolean =>
  import.meta.env.DEV || new URL(location.href).searchParams.has('devtools')

export function linkTo(id: string | null): string {
  const url = new URL(location.href)
  url.searchParams.delete('overview')
  if (id === null) url.searchParams.delete('document')
  else url.searchParams.set('document', id)
  return url.pathname + url.search
}

export function linkToOverview(): string {
  const url = new URL(linkTo(null), location.href)
  url.searchParams.set('overview', '')
  return url.pathname + url.search.replace('overview=', 'overview')
}

export const goTo = (id: string | null): void => follow(linkTo(id))

/** A link of this app. The way back to where one was is the browser's. */
export function follow(link: string): void {
  history.pushState(null, '', link)
  dispatchEvent(new Event(moved))
}

/** `notes/` and a name that nobody else has. */
export function newDocumentId(): string {
  const letters = 'abcdefghijkmnpqrstuvwxyz23456789'
  const random = crypto.getRandomValues(new Uint8Array(10))
  return `notes/${Array.from(random, (byte) => letters[byte % letters.length]).join('')}`
}

function documentId(): string | null {
  return new URL(location.href).searchParams.get('document') || null
}

const isOverview = (): boolean => new URL(location.href).searchParams.has('overview')

function subscribe(changed: () => void): () => void {
  addEventListener('popstate', changed)
  addEventListener(moved, changed)
  return () => {
    removeEventListener('popstate', changed)
    removeEventListener(moved, changed)
  }
}
