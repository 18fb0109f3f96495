/** The panel's tables. */
import type { DocumentInspection, LogEntry } from '../types.ts'

interface Column {
  readonly name: string
  readonly kind: '' | 'text' | 'number'
  readonly cell: (document: DocumentInspection) => string
}

const columns: readonly Column[] = [
  { name: 'document', kind: 'text', cell: ({ id, epoch }) => (epoch === 0 ? id : `${id} @${epoch}`) },
  { name: 'state', kind: '', cell: stateOf },
  { name: 'offset', kind: 'number', cell: ({ offset }) => String(offset) },
  { name: 'head', kind: 'number', cell: ({ head }) => String(head) },
  { name: 'pending', kind: 'number', cell: pendingOf },
  { name: 'sent', kind: 'number', cell: ({ sentBytes }) => bytes(sentBytes) },
  { name: 'received', kind: 'number', cell: ({ receivedBytes }) => bytes(receivedBytes) },
  { name: 'kept on', kind: '', cell: ({ storage }) => storage },
  { name: 'last error', kind: 'text', cell: ({ lastError }) => lastError?.code ?? '' },
]

export function documentsTable(documents: readonly DocumentInspection[]): HTMLElement {
  if (documents.length === 0) return element('div', 'empty', 'No document is open.')
  const heads = columns.map(({ name, kind }) => element('th', kind, name))
  const rows = documents.map((document) =>
    element('tr', '', ...columns.map(({ kind, cell }) => element('td', kind, cell(document)))),
  )
  return element(
    'table',
    '',
    element('thead', '', element('tr', '', ...heads)),
    element('tbody', '', ...rows),
  )
}

export function eventsTable(entries: readonly LogEntry[]): HTMLElement {
  if (entries.length === 0) return element('div', 'empty', 'Nothing has happened yet.')
  const rows = entries.map(({ atMs, document, event, detail }) =>
    element(
      'tr',
      '',
      element('td', '', new Date(atMs).toISOString().slice(11, 23)),
      element('td', 'text', document ?? ''),
      element('td', 'text', detail === '' ? event : `${event}: ${detail}`),
    ),
  )
  return element('table', '', element('tbody', '', ...rows))
}

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className: string,
  ...children: (string | Node)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag)
  made.className = className
  made.append(...children)
  return made
}

export function secondsUntil(atMs: number): string {
  return `retry in ${Math.max(0, Math.ceil((atMs - Date.now()) / 1000))} s`
}

function stateOf({ status, access, retryAtMs }: DocumentInspection): string {
  const reading = access === 'read' ? ', read only' : ''
  return `${status}${reading}${retryAtMs === null ? '' : `, ${secondsUntil(retryAtMs)}`}`
}

function pendingOf({ pending, pendingBytes }: DocumentInspection): string {
  return pending === 0 ? '0' : `${pending} (${bytes(pendingBytes)})`
}

function bytes(count: number): string {
  if (count < 1024) return `${count} B`
  return count < 1024 ** 2 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1024 ** 2).toFixed(1)} MiB`
}
