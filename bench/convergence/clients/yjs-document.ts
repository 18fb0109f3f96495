/**
 * A Y.Doc that is edited as operations say, with a name for each edit and the fields of the domain over it. All kinds of clients
 * that speak Yjs share it.
 */
import * as Y from 'yjs'
import { type Domain, type DomainHandle, openDomain } from '../../../client/domain/domain.ts'
import { documentFields } from '../fields.ts'
import type { Operation } from '../operation.ts'
import { brokenRules, foldOf, pasteCharactersMax, sorted, words, workOn } from './field-work.ts'
import { type Content, type Edit, editsRoot, type ReplicaDocument } from './replica.ts'

const own = 'edit'

export class YjsDocument implements ReplicaDocument {
  readonly ready = true
  readonly doc: Y.Doc
  readonly edits: Edit[]
  private readonly name: string
  private readonly undo: Y.UndoManager
  private readonly domain: Domain<typeof documentFields>
  private readonly clockSkewMs: number
  private emitted: Uint8Array[] = []
  private tidy = false

  /** `edits`: of earlier lives, to which new ones are added. `actor`: of this life alone. */
  constructor(
    handle: DomainHandle,
    { name, edits, actor, clockSkewMs }: { name: string; edits: Edit[]; actor: string; clockSkewMs: number },
  ) {
    this.doc = handle.doc
    this.name = name
    this.edits = edits
    this.clockSkewMs = clockSkewMs
    const { doc } = this
    // Roots as clients have them: without a kind, Yjs cannot edit them.
    const roots = [doc.getText('text'), doc.getMap('map'), doc.getArray('list'), doc.getXmlFragment('tree')]
    this.undo = new Y.UndoManager(roots, { trackedOrigins: new Set([own]), captureTimeout: 0 })
    this.domain = openDomain(handle, documentFields, { actor, subject: '' })
    doc.on('update', (update: Uint8Array, origin: unknown, _doc: Y.Doc, { local }: Y.Transaction) => {
      if (origin === own || origin === 'undo') this.emitted.push(update)
      else if (local) this.tidy = true
    })
  }

  /** Before the first fact of an actor; an edit like any other. */
  introduce(): Edit {
    return this.transact('says who it is', own, () => this.domain.introduce())
  }

  edit(operation: Operation): Edit | null {
    if (operation.kind === 'undo') {
      if (this.undo.undoStack.length === 0) return null
      return this.transact('undoes', 'undo', () => void this.undo.undo())
    }
    let what: string | null = null
    const edit = this.transact('', own, () => {
      const nowMs = Date.now() + this.clockSkewMs
      what =
        operation.kind === 'fact' ? workOn(this.domain.fields, operation, nowMs) : change(this.doc, operation)
    })
    // Its name is all that it changes then; it was sent all the same.
    const described = { ...edit, what: what ?? 'does nothing' }
    this.edits[this.edits.length - 1] = described
    return described
  }

  private transact(what: string, origin: string, act: () => void): Edit {
    this.emitted = []
    const number = this.edits.length + 1
    const name = `${this.name}.${number}`
    this.doc.transact(() => {
      act()
      this.doc.getMap(editsRoot).set(name, number)
    }, origin)
    const edit = { name, what, update: Y.mergeUpdates(this.emitted) }
    this.edits.push(edit)
    return edit
  }

  read(): Content {
    return contentOf(this.doc)
  }

  fold(): string {
    return foldOf(this.domain.fields)
  }

  /** Yjs has deleted marks by itself that it took for superfluous: an edit without a name. */
  get tidied(): boolean {
    return this.tidy
  }

  undecided(): number {
    return this.domain.intents().length
  }

  broken(): string[] {
    return brokenRules(this.domain.fields)
  }

  close(): void {
    this.domain.close()
    this.undo.destroy()
  }
}

/** Halves of surrogate pairs count as U+FFFD: Yjs replaces both when something comes between them, later on some replicas than on others. */
export function contentOf(doc: Y.Doc): Content {
  const edits = doc.getMap(editsRoot)
  const names = [...edits.keys()].sort()
  const facts = Object.entries(sorted(doc.getMap('facts').toJSON()))
  const isDecision = ([key]: [string, unknown]): boolean => key.startsWith('@')
  const made = JSON.stringify({
    text: joined(doc.getText('text').toDelta() as Run[]),
    map: sorted(doc.getMap('map').toJSON()),
    list: doc.getArray('list').toJSON(),
    tree: doc.getXmlFragment('tree').toString(),
    facts: facts.filter((fact) => !isDecision(fact)),
    edits: names,
  })
  const whole = (text: string): string => text.replaceAll(/\\ud[89a-f]..|[\ud800-\udfff]/g, '\ufffd')
  const json = whole(made + JSON.stringify(facts.filter(isDecision)))
  const plain = JSON.stringify(doc.getText('text').toString())
  return {
    json,
    made: whole(made),
    unmarked: whole(made.slice(made.indexOf('"map":')) + plain),
    edits: new Set(names),
  }
}

type Run = { insert: unknown; attributes?: Record<string, unknown> }

/** Replicas cut a text into runs where it was edited, also where the marks are the same. */
function joined(runs: readonly Run[]): Run[] {
  const all: Run[] = []
  for (const { insert, attributes = {} } of runs) {
    const marks = sorted(attributes)
    const last = all.at(-1)
    const isSame = last !== undefined && JSON.stringify(last.attributes) === JSON.stringify(marks)
    if (isSame && typeof last.insert === 'string' && typeof insert === 'string') last.insert += insert
    else all.push({ insert, attributes: marks })
  }
  return all
}

function change(doc: Y.Doc, { kind, place, choice }: Operation): string | null {
  const text = doc.getText('text')
  const map = doc.getMap('map')
  const list = doc.getArray('list')
  const tree = doc.getXmlFragment('tree')
  const at = place % (text.length + 1)
  const key = ['a', 'b', 'c', 'd'][place % 4]!
  const word = words[choice % words.length]!
  switch (kind) {
    case 'type': {
      const burst = 1 + (choice % 8)
      for (let i = 0, end = at; i < burst; i++, end += word.length) text.insert(end, word)
      return `types ${JSON.stringify(word)} ${burst} times at ${at}`
    }
    case 'delete': {
      const length = Math.min(text.length - at, 1 + (choice % 12))
      if (length === 0) return null
      text.delete(at, length)
      return `deletes ${length} characters at ${at}`
    }
    case 'format': {
      const length = Math.min(text.length - at, 1 + (choice % 9))
      if (length === 0) return null
      const marks = { [choice % 2 === 0 ? 'bold' : 'italic']: choice % 3 === 0 ? null : true }
      text.format(at, length, marks)
      return `formats ${length} characters at ${at}: ${JSON.stringify(marks)}`
    }
    case 'paste': {
      const characters = 1_000 + ((choice * 37) % pasteCharactersMax)
      text.insert(at, word.repeat(Math.ceil(characters / word.length)))
      return `pastes ${characters} characters at ${at}`
    }
    case 'map':
      if (choice % 5 === 0) map.delete(key)
      else map.set(key, choice)
      return choice % 5 === 0 ? `deletes the key ${key}` : `sets the key ${key} to ${choice}`
    case 'list': {
      const index = place % (list.length + 1)
      if (choice % 4 === 0 && index < list.length) list.delete(index, 1)
      else list.insert(index, [choice])
      return `changes the list at ${index}`
    }
    case 'tree': {
      const element = new Y.XmlElement('p')
      element.insert(0, [new Y.XmlText(word)])
      if (choice % 4 === 0 && tree.length > 0) tree.delete(place % tree.length, 1)
      else tree.insert(place % (tree.length + 1), [element])
      return 'changes the tree'
    }
    case 'nested': {
      const nested = map.get(key)
      if (nested instanceof Y.Map) nested.set('inner', choice)
      else map.set(key, new Y.Map([['inner', choice]]))
      return `changes what is nested in ${key}`
    }
    default:
      return null
  }
}
