/**
 * Gives every document of a directory that value format 1 wrote its place among the changes. Nobody has
 * asked for changes there yet, so any order will do, at or before the last LSN in LMDB; several
 * documents share a sequence only where there were fewer records than documents. It is one transaction:
 * either it has happened, or the next start does it again.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Store } from './store.ts'
import { CorruptValue, type StoredDocument } from './values.ts'

export async function placeDocuments(store: Store): Promise<void> {
  for (const _ of store.changesAfter(0)) return
  const records: [DocumentId, StoredDocument][] = []
  for (const id of store.documentsFrom('')) {
    try {
      const record = store.document(id)
      if (record !== null) records.push([id, record])
    } catch (error) {
      // Unreadable, which is for those to know who want this very document.
      if (!(error instanceof CorruptValue)) throw error
    }
  }
  if (records.length === 0) return
  const last = Math.max(1, store.mark())
  await store.write((write) => {
    for (const [i, [id, record]] of records.entries())
      write.document(id, { ...record, sequence: Math.min(i + 1, last) })
  })
}
