/** Documents of each engine, as the stories of faulty-network.test.ts edit and compare them. */
import * as Automerge from '@automerge/automerge'
import * as Y from 'yjs'
import type { AutomergeHandle, Client, Handle } from '../../client/types.ts'
import { automergeEngine } from '../../core/engine/automerge/automerge-engine.ts'

export type AnyHandle = Handle | AutomergeHandle<Note>
type Note = Record<string, string | number>

export interface StoryDocuments {
  open(client: Client, document: string, then: (handle: AnyHandle) => void): void
  /** Notes the edit by its name, and changes something that others change too. `pick`: less than its argument. */
  edit(handle: AnyHandle, name: string, pick: (max: number) => number): void
  contentOf(doc: unknown): string
  /** A document with all updates, and the names of its edits. Throws when something is in them twice. */
  replay(updates: readonly Uint8Array[]): { readonly doc: unknown; readonly edits: ReadonlySet<string> }
}

export const yjsDocuments: StoryDocuments = {
  open: (client, document, then) => then(client.open(document)),
  edit(handle, name, pick) {
    const doc = handle.doc as Y.Doc
    doc.transact(() => {
      const text = doc.getText('text')
      doc.getMap('edits').set(name, 1)
      const place = pick(text.length + 1)
      if (pick(4) === 0 && place < text.length) text.delete(place, Math.min(3, text.length - place))
      else text.insert(place, String.fromCharCode(97 + pick(26)).repeat(1 + pick(5)))
    })
  },
  contentOf(doc) {
    const edits = Object.keys((doc as Y.Doc).getMap('edits').toJSON()).sort()
    return JSON.stringify([(doc as Y.Doc).getText('text').toString(), edits])
  },
  replay(updates) {
    const doc = new Y.Doc()
    const seen = new Set<string>()
    for (const update of updates) {
      Y.applyUpdate(doc, update)
      for (const struct of Y.decodeUpdate(update).structs) {
        if (struct instanceof Y.Skip) continue
        const { client, clock } = struct.id
        for (let at = clock; at < clock + struct.length; at++) addOnce(seen, `${client}:${at}`)
      }
    }
    return { doc, edits: new Set(doc.getMap('edits').keys()) }
  },
}

export const automergeDocuments: StoryDocuments = {
  open(client, document, then) {
    // Closed meanwhile: its page was killed.
    client.open<Note>(document, { engine: 'automerge' }).then(then, () => undefined)
  },
  edit(handle, name, pick) {
    const { change } = handle as AutomergeHandle<Note>
    change.call(handle, (note) => {
      note[name] = 1
      if (pick(4) === 0) delete note['shared']
      else note['shared'] = name
    })
  },
  contentOf(doc) {
    const note = doc as Automerge.Doc<Note>
    return JSON.stringify([Object.entries(note).sort(), Automerge.getHeads(note).sort()])
  },
  replay(updates) {
    const seen = new Set<string>()
    for (const update of updates)
      for (const { hash } of automergeEngine.validate(update, { updateBytesMax: Number.MAX_SAFE_INTEGER })
        .changes)
        addOnce(seen, Buffer.from(hash).toString('hex'))
    const doc = Automerge.loadIncremental(Automerge.init<Note>(), Buffer.concat(updates))
    return { doc, edits: new Set(Object.keys(doc)) }
  },
}

function addOnce(seen: Set<string>, what: string): void {
  if (seen.has(what)) throw new Error(`${what} is in the log twice`)
  seen.add(what)
}
