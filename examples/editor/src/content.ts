/** Where a document of this editor keeps what, and what can be done with it as a whole. */
import { applyUpdate, type Doc, encodeStateAsUpdate, type Text } from 'yjs'

/** The field that TipTap edits. */
export const bodyField = 'body'

export const titleOf = (doc: Doc): Text => doc.getText('title')

export function isBlank(doc: Doc): boolean {
  return doc.getXmlFragment(bodyField).length === 0 && titleOf(doc).length === 0
}

/** Into a document of another name: the same content, history included. */
export function copyInto(target: Doc, source: Doc): void {
  applyUpdate(target, encodeStateAsUpdate(source))
}

/** Replaces what differs, so that others' changes elsewhere in the title stay. */
export function replaceText(text: Text, next: string): void {
  const before = text.toString()
  let start = 0
  while (start < before.length && start < next.length && before[start] === next[start]) start++
  let end = 0
  const most = Math.min(before.length, next.length) - start
  while (end < most && before[before.length - 1 - end] === next[next.length - 1 - end]) end++
  text.doc?.transact(() => {
    text.delete(start, before.length - start - end)
    text.insert(start, next.slice(start, next.length - end))
  })
}
