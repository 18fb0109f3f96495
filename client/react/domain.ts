/**
 * A React hook for documents of facts (docs/domain.md); an entry of its own, `tidemark/client/react/domain`, so that nobody
 * else pays for folds.
 *
 * As in hooks.ts nothing is opened while rendering, and what is given up is closed a moment later. `OpenDomain` is a new object at each
 * change, so that components that are given one may be memoised; its `fields` are read as they are at that moment.
 */
import { useMemo, useSyncExternalStore } from 'react'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import {
  type Acting,
  type Domain,
  type DomainHandle,
  type EntriesHandle,
  type FieldHandles,
  openDomain,
} from '../domain/domain.ts'
import type { AutomergeHandle, Client, Handle } from '../types.ts'

export interface OpenDomain<Of extends FieldsOfDocument, Opened = Handle> {
  readonly handle: Opened
  readonly domain: Domain<Of>
  readonly fields: FieldHandles<Of['fields']>
}

/** Of either engine, as far as it is used. */
type AnyHandle = (DomainHandle | EntriesHandle) & {
  on(name: 'loaded' | 'reset', listener: () => void): () => void
  close(): Promise<void>
}
type Open<Of extends FieldsOfDocument> = OpenDomain<Of, AnyHandle>

const nothing = (): null => null
const stop = (): void => undefined

/**
 * Keeps the document open while the component is there. Null until what this browser has of it is loaded; nothing is opened for the id
 * null. Give `definition` and `acting` that stay the same: another one is another domain. Throws, to the error boundary, when Automerge cannot
 * be loaded for a document of its own.
 */
export function useDomain<const Of extends FieldsOfDocument>(
  client: Client,
  id: string | null,
  definition: Of,
  acting: Acting,
  options?: { readonly engine?: 'yjs' },
): OpenDomain<Of> | null
export function useDomain<const Of extends FieldsOfDocument>(
  client: Client,
  id: string | null,
  definition: Of,
  acting: Acting,
  options: { readonly engine: 'automerge' },
): OpenDomain<Of, AutomergeHandle> | null
export function useDomain<const Of extends FieldsOfDocument>(
  client: Client,
  id: string | null,
  definition: Of,
  acting: Acting,
  { engine = 'yjs' }: { readonly engine?: 'yjs' | 'automerge' } = {},
): unknown {
  const store = useMemo(
    () => domainStore(client, id, definition, acting, engine),
    [client, id, definition, acting, engine],
  )
  const open = useSyncExternalStore(store.subscribe, store.snapshot, nothing)
  if (open instanceof Failure) throw open.error
  return open
}

class Failure {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

function domainStore<Of extends FieldsOfDocument>(
  client: Client,
  id: string | null,
  definition: Of,
  acting: Acting,
  engine: 'yjs' | 'automerge',
) {
  let current: Open<Of> | Failure | null = null

  /** Gives what ends it. */
  function use(handle: AnyHandle, changed: () => void): () => void {
    const domain = openDomain(handle, definition, acting) as Domain<Of>
    const show = (): void => {
      if (!handle.loaded) return
      current = { handle, domain, fields: domain.fields }
      changed()
    }
    const stops = [handle.on('loaded', show), handle.on('reset', show), domain.on('change', show)]
    show()
    return () => {
      for (const each of stops) each()
      domain.close()
      letGo(handle)
    }
  }

  return {
    subscribe(changed: () => void): () => void {
      if (id === null) return stop
      if (engine === 'yjs') return use(client.open(id), changed)
      let end: (() => void) | null = null
      let isGone = false
      client.open(id, { engine }).then(
        (handle) => {
          if (isGone) letGo(handle)
          else end = use(handle, changed)
        },
        (error: unknown) => {
          if (isGone) return
          current = new Failure(error)
          changed()
        },
      )
      return () => {
        isGone = true
        end?.()
      }
    },
    snapshot: () => current,
  }
}

function letGo(handle: AnyHandle): void {
  setTimeout(() => {
    // It is written to disk first; what fails there is told by the client's own events.
    handle.close().catch(nothing)
  }, 0)
}
