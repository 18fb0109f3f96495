/**
 * What the badge says about a document. It never says "Saved" while an edit could be lost by a crash of the server: only
 * `pending` counts, which falls when the server has said that an edit is on its disk.
 */
import type { DocumentStatus } from 'tidemark/client/react'

export interface Badge {
  readonly tone: 'good' | 'busy' | 'away' | 'bad' | 'quiet'
  readonly text: string
}

export type BadgeState = Pick<DocumentStatus, 'status' | 'pending' | 'access' | 'synced'> & {
  readonly error: { readonly message: string } | null
}

export function badgeOf({ status, pending, access, synced, error }: BadgeState): Badge {
  const unsaved = `${pending} ${pending === 1 ? 'edit' : 'edits'} not yet saved`
  switch (status) {
    case 'refused': {
      const why = `Refused: ${error?.message ?? 'the server did not say why'}`
      return { tone: 'bad', text: pending === 0 ? why : `${why} (${pending} kept here)` }
    }
    case 'offline':
      return { tone: 'away', text: pending === 0 ? 'Offline' : `Offline, ${unsaved}` }
    case 'connecting':
    case 'authenticating':
    case 'syncing':
      // After a failure this is one attempt of many: the word shall not change with each of them.
      if (error !== null) return { tone: 'away', text: pending === 0 ? 'Offline' : `Offline, ${unsaved}` }
      if (pending > 0) return { tone: 'busy', text: unsaved }
      return { tone: 'busy', text: synced ? 'Reconnecting' : 'Opening' }
    case 'live':
      if (access === 'read' && pending > 0)
        return { tone: 'bad', text: `Refused: read only (${pending} kept here)` }
      if (pending > 0) return { tone: 'busy', text: unsaved }
      return access === 'read' ? { tone: 'quiet', text: 'Read only' } : { tone: 'good', text: 'Saved' }
  }
}
