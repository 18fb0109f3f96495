/**
 * An Automerge document that is edited as operations say: each edit is one change with its name, behind those that write its facts.
 * All kinds of clients that speak Automerge share it.
 *
 * Two who make a root at once have two, of which one shows. So all roots are made by changes that everybody makes alike: pushed
 * before anybody comes, or made by each who begins the document, offline, at once. Nobody edits before these are there.
 */
import * as Automerge from '@automerge/automerge'
import { type Domain, type EntriesHandle, openDomain } from '../../../client/domain/domain.ts'
import { concat } from '../../../core/engine/automerge/outline.ts'
import { rootChange } from '../../../core/engine/automerge/written-entries.ts'
import { documentFields } from '../fields.ts'
import type { Operation } from '../operation.ts'
import { brokenRules, foldOf, pasteCharactersMax, sorted, words, workOn } from './field-work.ts'
import type { Content, Edit, ReplicaDocument } from './replica.ts'

type Facts = Record<string, unknown>

export interface Page {
  text: string
  map: Record<string, unknown>
  list: number[]
  counters: Record<string, Automerge.Counter>
  edits: Record<string, number>
  facts: Facts
}

/** Whoever holds the document. */
export interface Holder {
  doc(): Automerge.Doc<Page>
  change(edit: (page: Page) => void, options: { time: number }): void
  readonly handle: EntriesHandle
}

const maker = Buffer.from('convergence').toString('hex')

export const beginning: Uint8Array = ((): Uint8Array => {
  const page = { text: '', map: {}, list: [], edits: {}, counters: { a: new Automerge.Counter(0) } }
  const made = Automerge.change(
    Automerge.init<Record<string, unknown>>({ actor: maker as Automerge.ActorId }),
    { time: 0 },
    (doc) => {
      Object.assign(doc, page)
    },
  )
  return concat([...Automerge.getAllChanges(made), rootChange('facts').chunk])
})()

export class AutomergeDocument implements ReplicaDocument {
  readonly edits: Edit[]
  readonly tidied = false
  private readonly holder: Holder
  private readonly name: string
  private readonly clockSkewMs: number
  private readonly actor: string
  private opened: Domain<typeof documentFields> | null = null
  private known: { readonly doc: Automerge.Doc<Page>; readonly content: Content } | null = null

  constructor(
    holder: Holder,
    { name, edits, actor, clockSkewMs }: { name: string; edits: Edit[]; actor: string; clockSkewMs: number },
  ) {
    this.holder = holder
    this.name = name
    this.edits = edits
    this.clockSkewMs = clockSkewMs
    this.actor = actor
  }

  get ready(): boolean {
    const { edits, facts } = this.holder.doc()
    return edits !== undefined && facts !== undefined
  }

  edit(operation: Operation): Edit | null {
    const domain = this.domain()
    if (domain === null) return null
    const { holder } = this
    const before = Automerge.getHeads(holder.doc())
    const number = this.edits.length + 1
    const name = `${this.name}.${number}`
    const nowMs = Date.now() + this.clockSkewMs
    const isFact = operation.kind === 'fact'
    domain.introduce()
    let what = isFact ? workOn(domain.fields, operation, nowMs) : null
    holder.change(
      (page) => {
        if (!isFact) what = change(page, operation)
        page.edits[name] = number
      },
      { time: Math.floor(nowMs / 1000) },
    )
    const update = concat(Automerge.getChangesSince(holder.doc(), before))
    // Its name is all that it changes when there was nothing to do; it was sent all the same.
    const edit = { name, what: what ?? 'does nothing', update }
    this.edits.push(edit)
    return edit
  }

  read(): Content {
    const doc = this.holder.doc()
    if (this.known?.doc !== doc) this.known = { doc, content: contentOf(doc) }
    return this.known.content
  }

  fold(): string {
    const domain = this.domain()
    return domain === null ? '' : foldOf(domain.fields)
  }
  undecided(): number {
    return this.domain()?.intents().length ?? 0
  }
  broken(): string[] {
    const domain = this.domain()
    return domain === null ? [] : brokenRules(domain.fields)
  }

  close(): void {
    this.opened?.close()
  }

  private domain(): Domain<typeof documentFields> | null {
    if (this.opened === null && this.ready)
      this.opened = openDomain(this.holder.handle, documentFields, { actor: this.actor, subject: '' })
    return this.opened
  }
}

/** Strings of facts are scalars, which are objects here. */
function plain(value: unknown): unknown {
  if (value instanceof Automerge.ImmutableString) return value.toString()
  if (value instanceof Automerge.Counter) return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, plain(of)]))
}

/** All concurrent values of a key count: replicas that have the same have all of them. */
export function contentOf(doc: Automerge.Doc<Page>): Content {
  const { text, map = {}, list = [], counters = {}, edits = {}, facts = {} } = doc
  const names = Object.keys(edits).sort()
  const entries = Object.entries(sorted(plain(facts) as Facts))
  const isDecision = ([key]: [string, unknown]): boolean => key.startsWith('@')
  const valuesOf = (key: string): unknown => sorted(Automerge.getConflicts(map, key) ?? {})
  const made = JSON.stringify({
    text: text === undefined ? [] : Automerge.spans(doc, ['text']).map(alike),
    map: Object.keys(map)
      .sort()
      .map((key) => [key, valuesOf(key)]),
    list,
    counters: sorted(plain(counters) as Facts),
    facts: entries.filter((entry) => !isDecision(entry)),
    edits: names,
  })
  const heads = Automerge.getHeads(doc).sort()
  const json = made + JSON.stringify([entries.filter(isDecision), heads])
  return { json, made, unmarked: made, edits: new Set(names) }
}

const alike = (span: Automerge.Span): unknown =>
  span.type === 'text' ? [span.value, sorted(span.marks ?? {})] : sorted(span.value)

function change(page: Page, { kind, place, choice }: Operation): string | null {
  const doc = page as unknown as Automerge.Doc<Page>
  const { length } = page.text
  const at = place % (length + 1)
  const key = ['a', 'b', 'c', 'd'][place % 4]!
  const word = words[choice % words.length]!
  switch (kind) {
    case 'type': {
      const burst = 1 + (choice % 8)
      for (let i = 0, end = at; i < burst; i++, end += word.length)
        Automerge.splice(doc, ['text'], end, 0, word)
      return `types ${JSON.stringify(word)} ${burst} times at ${at}`
    }
    case 'delete': {
      const count = Math.min(length - at, 1 + (choice % 12))
      if (count === 0) return null
      Automerge.splice(doc, ['text'], at, count)
      return `deletes ${count} characters at ${at}`
    }
    case 'format': {
      const count = Math.min(length - at, 1 + (choice % 9))
      if (count === 0) return null
      const mark = choice % 2 === 0 ? 'bold' : 'italic'
      const range = { start: at, end: at + count, expand: 'after' as const }
      if (choice % 3 === 0) Automerge.unmark(doc, ['text'], range, mark)
      else Automerge.mark(doc, ['text'], range, mark, true)
      return `formats ${count} characters at ${at}: ${mark}`
    }
    case 'paste': {
      const characters = 1_000 + ((choice * 37) % pasteCharactersMax)
      Automerge.splice(doc, ['text'], at, 0, word.repeat(Math.ceil(characters / word.length)))
      return `pastes ${characters} characters at ${at}`
    }
    case 'map':
      if (choice % 5 === 0) delete page.map[key]
      else page.map[key] = choice
      return choice % 5 === 0 ? `deletes the key ${key}` : `sets the key ${key} to ${choice}`
    case 'list': {
      const index = place % (page.list.length + 1)
      if (choice % 4 === 0 && index < page.list.length) page.list.splice(index, 1)
      else page.list.splice(index, 0, choice)
      return `changes the list at ${index}`
    }
    case 'tree':
      Automerge.splitBlock(doc, ['text'], at, {
        type: 'paragraph',
        parents: [],
        attrs: { level: choice % 3 },
      })
      return `begins a paragraph at ${at}`
    case 'nested': {
      const nested = page.map[key]
      if (typeof nested === 'object' && nested !== null) Object.assign(nested, { inner: choice })
      else page.map[key] = { inner: choice }
      return `changes what is nested in ${key}`
    }
    // Automerge has no undo; it has counters.
    case 'undo':
      page.counters['a']!.increment(1 + (choice % 5))
      return `counts ${1 + (choice % 5)}`
    default:
      return null
  }
}
