/**
 * A React hook for documents of facts (docs/domain.md); an entry of its own, `tidemark/client/react/domain`, so that nobody
 * else pays for folds.
 *
 * As in hooks.ts nothing is opened while rendering, and what is given up is closed a moment later. `OpenDomain` is a new object at each
 * change, so that components that are given one may be memoised; its `fields` are read as they are at that moment.
 */
import { useMemo, useSyncExternalStore } from 'react'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import { type Acting, type Domain, type FieldHandles, openDomain } from '../domain/domain.ts'
import type { Client, Handle } from '../types.ts'

export interface OpenDomain<Of extends FieldsOfDocument> {
  readonly handle: Handle
  readonly domain: Domain<Of>
  readonly fields: FieldHandles<Of['fields']>
}

const nothing = (): null => null
const stop = (): void => undefined

/**
 * Keeps the document open while the component is there. Null until what this browser has of it is loaded; nothing is opened for the id
 * null. Give `definition` and `acting` that stay the same: another one is another domain.
 */
export function useDomain<const Of extends FieldsOfDocument>(
  client: Client,
  id: string | null,
  definition: Of,
  acting: Acting,
): OpenDomain<Of> | null {
  const store = useMemo(() => domainStore(client, id, definition, acting), [client, id, definition, acting])
  return useSyncExternalStore(store.subscribe, store.snapshot, nothing)
}

function domainStore<Of extends FieldsOfDocument>(
  client: Client,
  id: string | null,
  definition: Of,
  acting: Acting,
) {
  let current: OpenDomain<Of> | null = null
  return {
    subscribe(changed: () => void): () => void {
      if (id === null) return stop
      const handle = client.open(id)
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
        setTimeout(() => {
          // It is written to disk first; what fails there is told by the client's own events.
          handle.close().catch(nothing)
        }, 0)
      }
    },
    snapshot: () => current,
  }
}
