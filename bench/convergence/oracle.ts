/**
 * What must be true of a document, from outside: what was made, what was promised to anybody, what the log said. Knows nothing of
 * the relay.
 *
 *   made       every edit of every replica, with its update
 *   promised   its author was told that it is durable, or somebody else has seen it: it may never be missing again
 *   entries    what observers were told of each offset
 */
import * as Y from 'yjs'
import { type Domain, openDomain } from '../../client/domain/domain.ts'
import type { Content, Replica } from './clients/replica.ts'
import { contentOf } from './clients/yjs-document.ts'
import { documentFields } from './fields.ts'

export interface Author {
  readonly name: string
  readonly kind: string
  readonly replica: Replica
}

export class Oracle {
  readonly promised = new Map<string, string>()
  readonly entries = new Map<number, Uint8Array>()
  readonly wrong: string[] = []
  readonly authors: Author[] = []
  onPromise: () => void = () => undefined

  promise(edit: string, how: string): void {
    if (this.promised.has(edit)) return
    this.promised.set(edit, how)
    this.onPromise()
  }

  entry(offset: number, update: Uint8Array): void {
    const known = this.entries.get(offset)
    if (known === undefined) this.entries.set(offset, update)
    else if (Buffer.compare(known, update) !== 0) this.wrong.push(`offset ${offset} is two different updates`)
  }

  /** Throws with the first edit that somebody was promised and `content` does not have. */
  assertHas(content: Content, promised: Iterable<string>, who: string): void {
    const missing = [...promised].filter((edit) => !content.edits.has(edit))
    if (missing.length === 0) return
    const first = this.describe(missing[0]!)
    throw new Violation(`${who} lacks ${missing.length} promised edits, the first of them ${first}`)
  }

  /** The state of a document that applied every edit of these. */
  expected(edits: ReadonlySet<string>): { content: Content; fold: string } {
    const doc = new Y.Doc()
    const made = this.authors.flatMap(({ replica }) => replica.edits)
    doc.transact((transaction) => {
      for (const { name, update } of made) if (edits.has(name)) Y.applyUpdate(doc, update)
      // Yjs tidies up after what came from others, and this is nobody.
      transaction.local = true
    })
    const handle = { doc, loaded: true, on: () => () => undefined }
    const domain = openDomain(handle, documentFields, { actor: 'oracle', subject: '' })
    const fold = foldOf(domain)
    domain.close()
    return { content: contentOf(doc), fold }
  }

  assertNothingInvented(content: Content): void {
    const made = new Set(this.authors.flatMap(({ replica }) => replica.edits.map(({ name }) => name)))
    const invented = [...content.edits].filter((edit) => !made.has(edit))
    if (invented.length > 0) throw new Violation(`nobody made ${invented.join(', ')}`)
  }

  /** Of clients that name their pushes, each struct is in the log once, whatever was sent again. */
  assertNoneTwice(kinds: readonly string[]): void {
    const own = new Map<number, string>()
    for (const { kind, replica } of this.authors)
      if (kinds.includes(kind))
        for (const { name, update } of replica.edits)
          for (const client of Y.parseUpdateMeta(update).from.keys()) own.set(client, name)
    const seen = new Map<string, number>()
    for (const [offset, update] of [...this.entries].sort(([a], [b]) => a - b))
      for (const struct of Y.decodeUpdate(update).structs) {
        if (struct instanceof Y.Skip || !own.has(struct.id.client)) continue
        for (let at = 0; at < struct.length; at++) {
          const id = `${struct.id.client}:${struct.id.clock + at}`
          const before = seen.get(id)
          if (before !== undefined)
            throw new Violation(
              `a part of what ${own.get(struct.id.client)?.split('.')[0]} wrote is in the log twice, at ${before} and ${offset}`,
            )
          seen.set(id, offset)
        }
      }
  }

  describe(edit: string): string {
    for (const { name, kind, replica } of this.authors) {
      const found = replica.edits.find((each) => each.name === edit)
      if (found !== undefined)
        return `${edit} (${name}, ${kind}: ${found.what}), promised as ${this.promised.get(edit) ?? 'nothing'}`
    }
    return edit
  }
}

/** Something that must never be. */
export class Violation extends Error {
  override readonly name = 'Violation'
}

export function foldOf({ fields }: Pick<Domain<typeof documentFields>, 'fields'>): string {
  return JSON.stringify(Object.entries(fields).map(([name, { value }]) => [name, value]))
}
