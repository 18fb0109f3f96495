/**
 * What must be true of a document, from outside: what was made, what was promised to anybody, what the log said. Knows nothing of
 * the relay.
 *
 *   made       every edit of every replica, with its update
 *   promised   its author was told that it is durable, or somebody else has seen it: it may never be missing again
 *   entries    what observers were told of each offset
 */
import type { Engine } from './clients/engine.ts'
import type { Content, Replica } from './clients/replica.ts'

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
  private readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
  }

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

  /** The state of a document that applied every edit of these, and what the server wrote if edits may build on it. */
  expected(
    edits: ReadonlySet<string>,
    decisions: readonly Uint8Array[],
  ): { content: Content; fold: string; waitsFor: readonly string[] } {
    const made = this.authors.flatMap(({ replica }) => replica.edits).filter(({ name }) => edits.has(name))
    const { beginning } = this.engine
    const begun = beginning === null ? [] : [beginning]
    const reading = this.engine.replay([...begun, ...decisions, ...made.map(({ update }) => update)])
    return { content: reading.content(), fold: reading.fold(), waitsFor: reading.waitsFor() }
  }

  /**
   * What somebody waits for is of edits that are nowhere. A page that dies right after it has connected may have sent an edit and
   * not the one before: protocols that tell of updates have it so.
   */
  assertLostOnly(waitsFor: readonly string[], content: Content, who: string): void {
    if (waitsFor.length === 0) return
    const lost = new Set<string>()
    for (const { replica } of this.authors)
      for (const { name, update } of replica.edits)
        if (!content.edits.has(name)) for (const { id } of this.engine.parts(update)) lost.add(id)
    const there = waitsFor.filter((id) => !lost.has(id))
    if (there.length > 0) throw new Violation(`${who} lacks causes that others have: ${there.join(', ')}`)
  }

  assertNothingInvented(content: Content): void {
    const made = new Set(this.authors.flatMap(({ replica }) => replica.edits.map(({ name }) => name)))
    const invented = [...content.edits].filter((edit) => !made.has(edit))
    if (invented.length > 0) throw new Violation(`nobody made ${invented.join(', ')}`)
  }

  /** Of clients that name their pushes, each part is in the log once, whatever was sent again. */
  assertNoneTwice(kinds: readonly string[]): void {
    const own = new Map<string, string>()
    for (const { name: who, kind, replica } of this.authors)
      if (kinds.includes(kind))
        for (const { update } of replica.edits)
          for (const { writer } of this.engine.parts(update)) own.set(writer, who)
    const seen = new Map<string, number>()
    for (const [offset, update] of [...this.entries].sort(([a], [b]) => a - b))
      for (const { writer, id } of this.engine.parts(update)) {
        if (!own.has(writer)) continue
        const before = seen.get(id)
        if (before !== undefined)
          throw new Violation(
            `a part of what ${own.get(writer)} wrote is in the log twice, at ${before} and ${offset}`,
          )
        seen.set(id, offset)
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
