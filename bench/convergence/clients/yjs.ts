/** Documents of Yjs, over three doors. */
import * as Y from 'yjs'
import { openDomain } from '../../../client/domain/domain.ts'
import { documentFields } from '../fields.ts'
import type { Engine, Part, Reading } from './engine.ts'
import { foldOf } from './field-work.ts'
import { hocuspocus } from './hocuspocus.ts'
import { type Content, editsRoot } from './replica.ts'
import { tidemarkYjs } from './tidemark.ts'
import { yWebsocket } from './y-websocket.ts'
import { contentOf } from './yjs-document.ts'

export const yjs: Engine = {
  name: 'yjs',
  kinds: [tidemarkYjs, yWebsocket, hocuspocus],
  documentId: (label) => label,
  beginning: null,
  read: (onEdit = () => undefined) => new YjsReading(onEdit),
  replay(updates) {
    const reading = new YjsReading(() => undefined)
    reading.doc.transact((transaction) => {
      reading.apply(updates)
      // Yjs tidies up after what came from others, and this is nobody.
      transaction.local = true
    })
    return reading
  },
  *parts(update): Iterable<Part> {
    for (const struct of Y.decodeUpdate(update).structs) {
      if (struct instanceof Y.Skip) continue
      const { client, clock } = struct.id
      for (let at = 0; at < struct.length; at++)
        yield { writer: String(client), id: `${client}:${clock + at}` }
    }
  },
}

class YjsReading implements Reading {
  readonly doc = new Y.Doc()

  constructor(onEdit: (edit: string, isAdded: boolean) => void) {
    this.doc.getMap(editsRoot).observe(({ changes }) => {
      for (const [edit, { action }] of changes.keys) onEdit(edit, action === 'add')
    })
  }

  apply(updates: readonly Uint8Array[]): void {
    for (const update of updates) Y.applyUpdate(this.doc, update)
  }
  version(): Uint8Array {
    return Y.encodeStateVector(this.doc)
  }
  content(): Content {
    return contentOf(this.doc)
  }

  fold(): string {
    const handle = { doc: this.doc, loaded: true, on: () => () => undefined }
    const domain = openDomain(handle, documentFields, { actor: 'oracle', subject: '' })
    const fold = foldOf(domain.fields)
    domain.close()
    return fold
  }

  get edits(): number {
    return this.doc.getMap(editsRoot).size
  }
  waitsFor(): readonly string[] {
    const missing = this.doc.store.pendingStructs?.missing ?? []
    return [...missing].map(([client, clock]) => `${client}:${clock}`)
  }
  decisions(): readonly Uint8Array[] {
    return []
  }
}
