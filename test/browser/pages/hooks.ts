/** The React hooks and the devtools on a page of their own: `?relay=http://…`. The test mounts, and reads what was drawn. */
import { createElement, StrictMode, useEffect, useRef } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { mountDevtools, type Unmount } from '../../../client/devtools/panel.ts'
import { type Client, createClient } from '../../../client/index.ts'
import {
  type DocumentStatus,
  type OpenDocument,
  useDocument,
  usePresence,
  useStatus,
} from '../../../client/react/hooks.ts'

export interface Drawn {
  /** The document's id, or null while it is being opened; each time it was drawn. */
  readonly opened: readonly (string | null)[]
  readonly status: Pick<DocumentStatus, 'status' | 'pending' | 'loaded' | 'synced'> | null
  /** Own first. */
  readonly names: readonly unknown[]
  /** How often the list of names was a new one. */
  readonly nameLists: number
  /** Of the documents that were shown, in turn. */
  readonly guids: readonly string[]
}

export interface HooksPage {
  readonly client: Client
  /** In strict mode; again: with another document. */
  show(documentId: string): void
  unmount(): void
  drawn(): Drawn
  current(): OpenDocument
  devtools(): void
  noDevtools(): void
}

const client = createClient({ url: new URL(location.href).searchParams.get('relay') ?? '' })
const opened: (string | null)[] = []
let guids: string[] = []
let status: Drawn['status'] = null
let names: readonly unknown[] = []
let nameLists = 0
let current: OpenDocument | null = null
let root: Root | null = null
let unmountDevtools: Unmount | null = null

function Document({ id }: { readonly id: string }) {
  const open = useDocument(client, id)
  useEffect(() => {
    current = open
    opened.push(open === null ? null : open.handle.id)
    if (open !== null) guids = [...new Set([...guids, open.doc.guid])]
  }, [open])
  return open === null ? null : createElement(Open, { open })
}

function Open({ open }: { readonly open: OpenDocument }) {
  const now = useStatus(open.handle)
  const peers = usePresence<string>(open.handle, 'name')
  const last = useRef<readonly unknown[] | null>(null)
  useEffect(() => {
    status = { status: now.status, pending: now.pending, loaded: now.loaded, synced: now.synced }
  }, [now])
  useEffect(() => {
    if (last.current !== peers) nameLists++
    last.current = peers
    names = peers.map(({ value }) => value)
  }, [peers])
  return createElement('p', null, `${now.status}, ${now.pending}`)
}

const hooksPage: HooksPage = {
  client,
  show(id) {
    root ??= createRoot(document.getElementById('app')!)
    root.render(createElement(StrictMode, null, createElement(Document, { id })))
  },
  unmount() {
    root?.unmount()
    root = null
  },
  drawn: () => ({ opened, status, names, nameLists, guids }),
  current() {
    if (current === null) throw new Error('no document is shown')
    return current
  },
  devtools() {
    unmountDevtools = mountDevtools(client)
  },
  noDevtools() {
    unmountDevtools?.()
  },
}
Object.assign(globalThis, { hooksPage })
