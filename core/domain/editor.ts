/**
 * What people want from documents of structured editors, over `state.tree(name)` or a nested tree in a value. Names of nodes
 * and marks are TipTap's: `heading` (level), `taskItem` (checked), `mention` (id, label), `link` (href), `hardBreak`; those
 * of ProseMirror's own schemas with an underscore (`hard_break`) mean the same.
 *
 * Everything in a tree was written by a client, so nothing is taken for granted: what is not as expected is left out.
 * No locale and no dictionary is asked, so that all nodes and all times count the same words (P4, P5).
 */
import type { ElementNode, TextNode, Value } from '../engine/live-document.ts'

export interface Heading {
  /** 1 when it has none. */
  readonly level: number
  readonly text: string
}

export interface Task {
  /** Without that of tasks within it. */
  readonly text: string
  readonly checked: boolean
  /** 0 for one that is in no other. */
  readonly depth: number
}

export interface Mention {
  readonly id: string
  readonly label: string
}

export interface Link {
  readonly href: string
  readonly text: string
}

/** A line for each block with text in it; of a text, the text itself. */
export function plainText(tree: Value): string {
  return linesOf(tree, () => true).join('\n')
}

export function headings(tree: Value): Heading[] {
  return elements(tree, 'heading').map(([node]) => {
    const { level } = node.attributes
    return { level: typeof level === 'number' ? level : Number(level) || 1, text: inlineText(node) }
  })
}

export function tasks(tree: Value): Task[] {
  return elements(tree, 'taskItem').map(([node, depth]) => {
    const own = linesOf(node, (child) => nameOf(child) !== 'taskList')
    const { checked } = node.attributes
    return { text: own.join('\n'), checked: checked === true || checked === 'true', depth }
  })
}

export function mentions(tree: Value): Mention[] {
  return elements(tree, 'mention').flatMap(([{ attributes }]) => {
    const id = stringOf(attributes['id'])
    return id === '' ? [] : [{ id, label: stringOf(attributes['label']) || id }]
  })
}

/** One for each stretch of text with the same address, also when parts of it are bold. */
export function links(tree: Value): Link[] {
  const found: { href: string; text: string }[] = []
  walk(tree, (node) => {
    let before = ''
    for (const child of node.content as readonly Value[]) {
      const href = isText(child) ? hrefOf(child) : ''
      const text = isText(child) ? child.text : ''
      if (href !== '' && href === before) found.at(-1)!.text += text
      else if (href !== '') found.push({ href, text })
      before = href
    }
  })
  return found
}

/** Letters and digits between spaces and punctuation; of Chinese and Japanese script, each character. */
export function wordCount(tree: Value): number {
  return plainText(tree).match(word)?.length ?? 0
}

const single = '[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}]'
const letters = `(?:(?!${single})[\\p{L}\\p{N}\\p{M}])+`
const word = new RegExp(`${single}|${letters}(?:['’.-]${letters})*`, 'gu')

function linesOf(tree: Value, isIncluded: (node: ElementNode) => boolean): string[] {
  if (typeof tree === 'string') return tree === '' ? [] : [tree]
  if (isText(tree)) return [tree.text]
  if (!isElement(tree)) return []
  if (tree.content.some(isInline)) return [inlineText(tree)]
  return (tree.content as readonly Value[]).flatMap((child) =>
    isElement(child) && !isIncluded(child) ? [] : linesOf(child, isIncluded),
  )
}

function inlineText(node: Value): string {
  if (isText(node)) return node.text
  if (!isElement(node)) return ''
  if (nameOf(node) === 'hardBreak') return '\n'
  if (nameOf(node) === 'mention') return mentions(node).map(({ label }) => `@${label}`)[0] ?? ''
  return (node.content as readonly Value[]).map(inlineText).join('')
}

function isInline(node: Value): boolean {
  return (
    isText(node) || (isElement(node) && ['hardBreak', 'mention', 'embed', 'emoji'].includes(nameOf(node)))
  )
}

/** All of that name, in the order of the document, with how many of the same name are around each. */
function elements(tree: Value, name: string): [node: ElementNode, depth: number][] {
  const found: [ElementNode, number][] = []
  walk(tree, (node, around) => {
    if (nameOf(node) === name) found.push([node, around.filter((each) => nameOf(each) === name).length])
  })
  return found
}

function walk(tree: Value, visit: (node: ElementNode, around: readonly ElementNode[]) => void): void {
  const around: ElementNode[] = []
  const enter = (node: Value): void => {
    if (!isElement(node)) return
    visit(node, around)
    around.push(node)
    for (const child of node.content) enter(child)
    around.pop()
  }
  enter(tree)
}

const nameOf = ({ type }: ElementNode): string =>
  type.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

function hrefOf({ marks }: TextNode): string {
  return stringOf(marks.find(({ type }) => type === 'link')?.attributes?.['href'])
}

function stringOf(value: Value | undefined): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

function isText(node: Value): node is TextNode {
  return (
    isRecord(node) &&
    node['type'] === 'text' &&
    typeof node['text'] === 'string' &&
    isArrayOfRecords(node['marks'])
  )
}

function isElement(node: Value): node is ElementNode {
  if (!isRecord(node) || typeof node['type'] !== 'string' || !Array.isArray(node['content'])) return false
  return isRecord(node['attributes'])
}

function isArrayOfRecords(value: Value | undefined): boolean {
  return Array.isArray(value) && value.every(isRecord)
}

function isRecord(node: Value | undefined): node is { readonly [key: string]: Value } {
  return typeof node === 'object' && node !== null && !Array.isArray(node)
}
