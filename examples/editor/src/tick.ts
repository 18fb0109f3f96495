/**
 * Ticks a task from outside its document. A row says where the task was when it was written; the document says where it is
 * now. So the task is looked for by its place and its text, and left alone when it is not clear which one is meant.
 */
import type { Client } from 'tidemark/client'
import { type Doc, XmlElement, type XmlFragment, XmlText } from 'yjs'
import { bodyField } from './content.ts'

const waitMsMax = 15_000

export interface TaskPlace {
  readonly document: string
  /** Among all tasks of the document. */
  readonly position: number
  readonly text: string
}

/** Resolves with true once it is saved; with false when it is not there any more. Rejects when it may not be, or not in time. */
export async function tick(client: Client, { document, position, text }: TaskPlace): Promise<boolean> {
  const handle = client.open(document)
  try {
    await inTime(handle.whenSynced)
    if (handle.access === 'read') return false
    const task = taskAt(handle.doc, position, text)
    // Of Yjs's types attributes are strings; those of TipTap are what they are.
    ;(task as XmlElement<{ checked: boolean }> | null)?.setAttribute('checked', true)
    await inTime(handle.saved())
    return task !== null
  } finally {
    void handle.close()
  }
}

/** Null when it is not clear which one is meant. */
export function taskAt(doc: Doc, position: number, text: string): XmlElement | null {
  const items = itemsIn(doc.getXmlFragment(bodyField))
  const there = items[position]
  if (there !== undefined && textOf(there) === text) return there
  const same = items.filter((item) => textOf(item) === text)
  return same.length === 1 ? same[0]! : null
}

function itemsIn(parent: XmlElement | XmlFragment): XmlElement[] {
  return parent.toArray().flatMap((child) => {
    if (!(child instanceof XmlElement)) return []
    return child.nodeName === 'taskItem' ? [child, ...itemsIn(child)] : itemsIn(child)
  })
}

/** As the adapter has it: a line for each block, without the tasks within it. */
function textOf(item: XmlElement): string {
  const lines = (parent: XmlElement): string[] => {
    const children = parent.toArray()
    if (children.some((child) => child instanceof XmlText)) return [children.map(inline).join('')]
    return children.flatMap((child) =>
      child instanceof XmlElement && child.nodeName !== 'taskList' ? lines(child) : [],
    )
  }
  return lines(item).join('\n')
}

function inline(node: unknown): string {
  if (node instanceof XmlElement) return node.nodeName === 'hardBreak' ? '\n' : ''
  if (!(node instanceof XmlText)) return ''
  const parts = node.toDelta() as { insert: unknown }[]
  return parts.map(({ insert }) => (typeof insert === 'string' ? insert : '')).join('')
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('not in time')), waitMsMax)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
