/** Names documents in the order of their UTF-8 bytes: those in LMDB, merged with those only in memory so far. */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Checkpointer } from './checkpoint.ts'
import { isListed, type Store } from './store.ts'

export interface ListingParts {
  readonly store: Store
  readonly checkpointer: Checkpointer
}

/** Reads in one turn of the event loop. */
export function listDocuments(
  prefix: string,
  after: string,
  countMax: number,
  { store, checkpointer }: ListingParts,
): DocumentId[] {
  const unwritten: DocumentId[] = []
  for (const { id } of checkpointer.unwritten())
    if (id.startsWith(prefix) && isListed(id) && compareUtf8(id, after) > 0) unwritten.push(id)
  unwritten.sort(compareUtf8)
  const listed: DocumentId[] = []
  const add = (id: DocumentId): void => {
    if (listed.length < countMax && listed.at(-1) !== id) listed.push(id)
  }
  let next = 0
  for (const id of store.documentsFrom(compareUtf8(prefix, after) > 0 ? prefix : after)) {
    if (listed.length >= countMax || !id.startsWith(prefix)) break
    if (id === after) continue
    for (; next < unwritten.length && compareUtf8(unwritten[next]!, id) < 0; next++) add(unwritten[next]!)
    add(id)
  }
  for (; next < unwritten.length && listed.length < countMax; next++) add(unwritten[next]!)
  return listed
}

const firstSurrogate = 0xd800
const afterSurrogates = 0xe000

/** UTF-16 sorts surrogates, which are the highest code points, below U+E000 to U+FFFF; UTF-8 above. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

function rank(unit: number): number {
  if (unit < firstSurrogate) return unit
  return unit < afterSurrogates ? unit + 0x2000 : unit - 0x800
}
