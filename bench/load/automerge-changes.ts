/** Documents of Automerge with a chain of changes each, made before anything is measured. */
import * as Automerge from '@automerge/automerge'
import { generateAutomergeUrl, parseAutomergeUrl } from '@automerge/automerge-repo'
import { generateEdits } from './edit-trace.ts'

export interface Chain {
  readonly documentId: string
  /** The first one makes the document. */
  readonly changes: readonly Uint8Array[]
  /** After each. */
  readonly heads: readonly Uint8Array[]
  /** In hexadecimal, to its place in `heads`. */
  readonly places: ReadonlyMap<string, number>
}

interface Content {
  text: string
}

/** One character is typed with each change. */
export function typedChain(count: number): Chain {
  return chainOf(
    Array.from({ length: count }, (_, i) => (doc: Content) => {
      Automerge.splice(doc, ['text'], i, 0, 'x')
    }),
  )
}

/** The session of edit-trace.ts, so many edits in a change. */
export function editedChain(editsPerChange: number): Chain {
  const edits: [number, string | null][] = []
  generateEdits((position, character) => edits.push([position, character]))
  const steps: ((doc: Content) => void)[] = []
  for (let at = 0; at < edits.length; at += editsPerChange)
    steps.push((doc) => {
      for (const [position, character] of edits.slice(at, at + editsPerChange))
        if (character === null) Automerge.splice(doc, ['text'], position, 1)
        else Automerge.splice(doc, ['text'], position, 0, character)
    })
  return chainOf(steps)
}

function chainOf(steps: readonly ((doc: Content) => void)[]): Chain {
  let doc = Automerge.from<Content & Record<string, unknown>>({ text: '' })
  const changes = [Automerge.getLastLocalChange(doc)!]
  const names = [Automerge.getHeads(doc)[0]!]
  for (const step of steps) {
    doc = Automerge.change(doc, step)
    changes.push(Automerge.getLastLocalChange(doc)!)
    names.push(Automerge.getHeads(doc)[0]!)
  }
  return {
    documentId: parseAutomergeUrl(generateAutomergeUrl()).documentId,
    changes,
    heads: names.map((name) => Uint8Array.from(Buffer.from(name, 'hex'))),
    places: new Map(names.map((name, i) => [name, i])),
  }
}

export const placeOf = ({ places }: Chain, heads: readonly Uint8Array[]): number | undefined =>
  heads.length === 1 ? places.get(Buffer.from(heads[0]!).toString('hex')) : undefined
