/** Where in the app one is: `/market`, `/market?deal=deals%2Fk3x9`, `/market?new`, `/market?inbox`. */
import { useSyncExternalStore } from 'react'

export type Place =
  | { readonly name: 'deals' | 'new' | 'inbox' }
  | { readonly name: 'deal'; readonly deal: string }

const moved = 'tidemark-moved'

export function usePlace(): Place {
  return placeIn(useSyncExternalStore(subscribe, () => location.search))
}

export function linkTo(place: Place): string {
  if (place.name === 'deals') return location.pathname
  return `${location.pathname}?${place.name === 'deal' ? `deal=${encodeURIComponent(place.deal)}` : place.name}`
}

/** The way back to where one was is the browser's. */
export function goTo(place: Place): void {
  history.pushState(null, '', linkTo(place))
  dispatchEvent(new Event(moved))
}

function placeIn(search: string): Place {
  const parameters = new URLSearchParams(search)
  const deal = parameters.get('deal')
  if (deal !== null) return { name: 'deal', deal }
  return { name: parameters.has('inbox') ? 'inbox' : parameters.has('new') ? 'new' : 'deals' }
}

function subscribe(changed: () => void): () => void {
  addEventListener('popstate', changed)
  addEventListener(moved, changed)
  return () => {
    removeEventListener('popstate', changed)
    removeEventListener(moved, changed)
  }
}
