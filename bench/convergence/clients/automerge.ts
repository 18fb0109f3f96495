/** Documents of Automerge, over two doors. */
import * as Automerge from '@automerge/automerge'
import { generateAutomergeUrl, parseAutomergeUrl } from '@automerge/automerge-repo'
import { AutomergeEntries } from '../../../client/automerge/entries.ts'
import { openDomain } from '../../../client/domain/domain.ts'
import { hex, readChunks, unhex } from '../../../core/engine/automerge/chunk.ts'
import { concat } from '../../../core/engine/automerge/outline.ts'
import { writeVersion } from '../../../core/engine/automerge/version.ts'
import { rootChange } from '../../../core/engine/automerge/written-entries.ts'
import { documentFields } from '../fields.ts'
import { beginning, contentOf, type Page } from './automerge-document.ts'
import { automergeRepo } from './automerge-repo.ts'
import type { Engine, Part, Reading } from './engine.ts'
import { foldOf } from './field-work.ts'
import { type Content, editsRoot } from './replica.ts'
import { tidemarkAutomerge } from './tidemark.ts'

/** The world's AUTOMERGE_PREFIX. */
export const automergePrefix = 'convergence/'

export const automerge: Engine = {
  name: 'automerge',
  kinds: [tidemarkAutomerge, automergeRepo, automergeRepo],
  documentId: () => automergePrefix + parseAutomergeUrl(generateAutomergeUrl()).documentId,
  beginning,
  read: (onEdit = () => undefined) => new AutomergeReading(onEdit),
  replay(updates) {
    const reading = new AutomergeReading(() => undefined)
    reading.apply(updates)
    return reading
  },
  *parts(update): Iterable<Part> {
    for (const { actor, hash } of readChunks(update).changes) yield { writer: actor, id: hex(hash) }
  },
}

/** In the actors of what the server writes. */
const serverActors = Buffer.from('tidemark:').toString('hex')

class AutomergeReading implements Reading {
  private doc = Automerge.init<Page>()
  private readonly onEdit: (edit: string, isAdded: boolean) => void
  private readonly names = new Set<string>()
  private known: { readonly doc: Automerge.Doc<Page>; readonly content: Content } | null = null

  constructor(onEdit: (edit: string, isAdded: boolean) => void) {
    this.onEdit = onEdit
  }

  apply(updates: readonly Uint8Array[]): void {
    if (updates.length === 0) return
    this.doc = Automerge.loadIncremental(this.doc, concat(updates), {
      patchCallback: (patches) => {
        for (const { path, action } of patches)
          if (path[0] === editsRoot && path.length === 2) this.tell(String(path[1]), action)
      },
    })
  }

  private tell(name: string, action: Automerge.Patch['action']): void {
    const isAdded = action === 'put' && !this.names.has(name)
    this.names.add(name)
    this.onEdit(name, isAdded)
  }

  version(): Uint8Array {
    return writeVersion(Automerge.getHeads(this.doc).map(unhex))
  }

  content(): Content {
    const { doc } = this
    if (this.known?.doc !== doc) this.known = { doc, content: contentOf(doc) }
    return this.known.content
  }

  fold(): string {
    const entries = new AutomergeEntries(this.doc, () => undefined)
    const handle = { entries, loaded: true, on: () => () => undefined }
    const domain = openDomain(handle, documentFields, { actor: 'oracle', subject: '' })
    const fold = foldOf(domain.fields)
    domain.close()
    return fold
  }

  get edits(): number {
    return Object.keys(this.doc.edits ?? {}).length
  }
  waitsFor(): readonly string[] {
    return Automerge.getMissingDeps(this.doc, [])
  }

  decisions(): readonly Uint8Array[] {
    const { actor: root } = rootChange('facts')
    return Automerge.getAllChanges(this.doc).filter((change) => {
      const { actor } = Automerge.decodeChange(change)
      return actor.includes(serverActors) && actor !== root
    })
  }
}
