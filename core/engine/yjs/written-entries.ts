/** The entries of a root map of a document that is open, and what is written to it from now on. See `WriteOnce`. */
import * as encoding from 'lib0/encoding'
import type * as Y from 'yjs'
import type { Next } from '../engine.ts'
import type { Value } from '../live-document.ts'
import { contentRef, hasParentSub } from './struct-scanner.ts'
import { isIntact, toValue } from './values.ts'

export interface WrittenEntry {
  readonly key: string
  /** Undefined: it was deleted. */
  readonly value: Value | undefined
  /** Written once, and there. */
  readonly intact: boolean
}

/** Calls `onEntries` with all there are, now, and with those that change, until the returned function is called. */
export function followEntries(
  doc: Y.Doc,
  root: string,
  onEntries: (entries: readonly WrittenEntry[]) => void,
): () => void {
  const map = doc.getMap(root)
  const observe = ({ keysChanged }: Y.YMapEvent<unknown>): void =>
    onEntries([...keysChanged].map((key) => entryOf(map, key)))
  onEntries([...map._map.keys()].map((key) => entryOf(map, key)))
  map.observe(observe)
  return () => map.unobserve(observe)
}

/** In one transaction. */
export function writeEntries(
  doc: Y.Doc,
  root: string,
  entries: readonly { readonly key: string; readonly value: Value | undefined }[],
): void {
  const map = doc.getMap(root)
  doc.transact(() => {
    for (const { key, value } of entries) map.set(key, value)
  })
}

/**
 * One struct and no deletes; see struct-scanner.ts for the bytes. Made without a document: a Y.Doc cannot begin at a clock.
 */
export function entryUpdate(root: string, key: string, value: Value, { replica, written }: Next): Uint8Array {
  const encoder = encoding.createEncoder()
  for (const number of [1, 1, replica, written]) encoding.writeVarUint(encoder, number)
  encoding.writeUint8(encoder, hasParentSub | contentRef.any)
  encoding.writeVarUint(encoder, 1)
  encoding.writeVarString(encoder, root)
  encoding.writeVarString(encoder, key)
  encoding.writeVarUint(encoder, 1)
  encoding.writeAny(encoder, value as never)
  encoding.writeVarUint(encoder, 0)
  return encoding.toUint8Array(encoder)
}

function entryOf(map: Y.Map<unknown>, key: string): WrittenEntry {
  const item = map._map.get(key)
  const isThere = item !== undefined && !item.deleted
  return { key, value: isThere ? toValue(map.get(key)) : undefined, intact: isIntact(item) }
}
