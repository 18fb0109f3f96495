/** Parts of documents that are made of results: each stands between two marks, and is replaced as a whole. */
import { readFileSync, writeFileSync } from 'node:fs'
import { root } from './root.ts'

/** `command`: `npm run` of what writes it, which names the marks. Throws when the document has none. */
export function writePart(document: string, command: string, part: string): void {
  const path = `${root}docs/${document}`
  const begin = `<!-- from here on \`npm run ${command}\` writes -->`
  const end = `<!-- \`npm run ${command}\` writes up to here -->`
  const text = readFileSync(path, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/${document} has no place between ${begin} and ${end}`)
  writeFileSync(path, `${text.slice(0, from)}${begin}\n\n${part}\n\n${text.slice(to)}`)
}

/** The first column is text, the others are numbers. */
export function markdownTable(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const rule = head.map((_, i) => (i === 0 ? '---' : '--:'))
  return [head, rule, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** When, where and of what the figures are. */
export function describeMachine({
  date,
  commit,
  machine,
}: {
  readonly date: string
  readonly commit: string
  readonly machine: Readonly<Record<string, string | number>>
}): string {
  const { cpu, cores, memoryGb, kernel, node } = machine
  return `Measured on ${date.slice(0, 10)}, commit ${commit}, on ${cores} cores (${cpu}), ${memoryGb} GB, Linux ${kernel}, Node ${String(node).slice(1)}.`
}
