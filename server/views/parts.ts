/** Documents are spread over parts by their ids; a node projects the parts that it holds. */
import type { DocumentId } from '../../core/document-id.ts'

/** Stored with every cursor: another number is another layout of what is stored. */
export const partCount = 16

/** FNV-1a over the id's UTF-16 code units: the same on every node. */
export function partOf(document: DocumentId): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < document.length; i++) {
    hash ^= document.charCodeAt(i)
    hash = Math.imul(hash, 0x01000193)
  }
  // The low bits of FNV mix badly.
  return ((hash >>> 16) ^ hash) & (partCount - 1)
}
