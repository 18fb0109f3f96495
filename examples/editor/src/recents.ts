/** The documents that were open on this device lately, with their titles; by user. */
import { useSyncExternalStore } from 'react'
import { type Stored, stored } from './stored.ts'

export interface Recent {
  readonly id: string
  readonly title: string
}

export type Recents = Stored<readonly Recent[]>

const recentsMax = 12
const none: readonly Recent[] = []

export function recentsOf(user: string): Recents {
  return stored(`tidemark.editor.recents.${user}`, none, isRecents)
}

export function useRecents(recents: Recents): readonly Recent[] {
  return useSyncExternalStore(recents.subscribe, recents.get)
}

/** To the front; with its title as it is now. */
export function noteRecent(recents: Recents, { id, title }: Recent): void {
  const [first] = recents.get()
  if (first?.id === id && first.title === title) return
  const others = recents.get().filter((recent) => recent.id !== id)
  recents.set([{ id, title }, ...others].slice(0, recentsMax))
}

/** What to call a document of which only the id is known: `notes/harvest-plan` is "Harvest plan". */
export function nameOf(id: string): string {
  const last = id.split('/').at(-1) ?? id
  const words = last.replace(/[-_]+/g, ' ').trim()
  return words === '' ? id : words.charAt(0).toUpperCase() + words.slice(1)
}

function isRecents(value: unknown): value is readonly Recent[] {
  return (
    Array.isArray(value) &&
    value.every(
      (one: unknown) =>
        typeof one === 'object' &&
        one !== null &&
        typeof (one as Recent).id === 'string' &&
        typeof (one as Recent).title === 'string',
    )
  )
}
