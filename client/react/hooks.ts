/**
 * React hooks over a client and its handles, for React 18 and 19.
 *
 * - Nothing is opened while rendering: a render that React throws away leaves nothing behind. `useDocument` opens in
 *   the effect, so its first result is null, and there is nothing on a server that renders.
 * - A handle that is given up is closed a moment later. React's strict mode, and moving a component, take everything
 *   down and put it up again at once: the document stays open through that.
 * - Results change only when something has changed: components may depend on their identity.
 */
import { equalityDeep } from 'lib0/function'
import { useMemo, useSyncExternalStore } from 'react'
import type { Awareness } from 'y-protocols/awareness'
import type * as Y from 'yjs'
import type { Aside, Client, Handle, Status, StorageState } from '../types.ts'

export { type LiveRowsState, type QueryState, useLive, useQuery } from './queries.ts'

export interface OpenDocument {
  readonly handle: Handle
  /** Give an editor a `key` of `doc.guid`: after `handle.reset()` this is another document. */
  readonly doc: Y.Doc
  readonly awareness: Awareness
}

export interface DocumentStatus {
  readonly status: Status
  /** Edits made on this device that the server has not acknowledged. */
  readonly pending: number
  readonly error: Handle['error']
  readonly access: Handle['access']
  readonly loaded: boolean
  readonly synced: boolean
  readonly storage: StorageState
  readonly aside: Aside | null
}

export interface Peer<Value> {
  readonly clientId: number
  readonly isSelf: boolean
  readonly value: Value
}

/** Keeps the document open while the component is there. Null at first, and while another id is being opened. */
export function useDocument(client: Client, id: string): OpenDocument | null {
  const store = useMemo(() => documentStore(client, id), [client, id])
  return useSyncExternalStore(store.subscribe, store.snapshot, nothing)
}

/** What to tell the user about a document: `pending` is what a saved badge needs. */
export function useStatus(handle: Handle): DocumentStatus {
  const store = useMemo(() => statusStore(handle), [handle])
  return useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot)
}

/**
 * Who is there: one field of each presence state, of those that have it; the own one first. Only a change of that field is one,
 * so a list of names is not drawn again for each move of a caret.
 */
export function usePresence<Value = unknown>(handle: Handle, field: string): readonly Peer<Value>[] {
  const store = useMemo(() => presenceStore<Value>(handle, field), [handle, field])
  return useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot)
}

interface Store<Snapshot> {
  subscribe(changed: () => void): () => void
  snapshot(): Snapshot
}

const nothing = (): null => null

function documentStore(client: Client, id: string): Store<OpenDocument | null> {
  let current: OpenDocument | null = null
  return {
    subscribe(changed) {
      const handle = client.open(id)
      const take = (): void => {
        current = { handle, doc: handle.doc, awareness: handle.awareness }
        changed()
      }
      if (current?.doc !== handle.doc) take()
      const stop = handle.on('reset', take)
      return () => {
        stop()
        setTimeout(() => {
          // It is written to disk first; what fails there is told by the client's own events.
          handle.close().catch(nothing)
        }, 0)
      }
    },
    snapshot: () => current,
  }
}

const statusEvents = [
  'status',
  'pending',
  'synced',
  'loaded',
  'error',
  'lineage',
  'storage',
  'access',
  'reset',
] as const

function statusStore(handle: Handle): Store<DocumentStatus> {
  let current = statusOf(handle)
  return {
    subscribe(changed) {
      const stops = statusEvents.map((name) => handle.on(name, changed))
      return () => {
        for (const stop of stops) stop()
      }
    },
    // Always asked, never remembered from an event: what is shown is what is so.
    snapshot() {
      const next = statusOf(handle)
      const names = Object.keys(next) as (keyof DocumentStatus)[]
      if (names.some((name) => next[name] !== current[name])) current = next
      return current
    },
  }
}

function statusOf(handle: Handle): DocumentStatus {
  const { status, pending, error, access, loaded, synced, storage, aside } = handle
  return { status, pending, error, access, loaded, synced, storage, aside }
}

function presenceStore<Value>(handle: Handle, field: string): Store<readonly Peer<Value>[]> {
  let current: readonly Peer<Value>[] = []
  return {
    subscribe(changed) {
      let { awareness } = handle
      awareness.on('change', changed)
      const stop = handle.on('reset', () => {
        awareness.off('change', changed)
        awareness = handle.awareness
        awareness.on('change', changed)
        changed()
      })
      return () => {
        awareness.off('change', changed)
        stop()
      }
    },
    snapshot() {
      const next = peersOf<Value>(handle.awareness, field)
      if (!equalityDeep(next, current)) current = next
      return current
    },
  }
}

function peersOf<Value>(awareness: Awareness, field: string): Peer<Value>[] {
  return [...awareness.getStates()]
    .filter(([, state]) => state[field] !== undefined && state[field] !== null)
    .map(([clientId, state]) => ({ clientId, isSelf: clientId === awareness.clientID, value: state[field] }))
    .sort((a, b) => Number(b.isSelf) - Number(a.isSelf) || a.clientId - b.clientId)
}
