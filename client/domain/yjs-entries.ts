/** Entries of a Yjs document that is open. */
import type * as Y from 'yjs'
import { YjsState } from '../../core/engine/yjs/state.ts'
import { followEntries, writeEntries } from '../../core/engine/yjs/written-entries.ts'
import type { DocumentEntries } from '../entries.ts'

export function yjsEntries(doc: Y.Doc): DocumentEntries {
  return {
    state: new YjsState(doc),
    follow: (root, onEntries) => followEntries(doc, root, onEntries),
    write: (root, entries) => writeEntries(doc, root, entries),
    assign: (root, key, value) => writeEntries(doc, root, [{ key, value }]),
  }
}
