/**
 * Random histories of a few clients on one document, as fast-check values that shrink: a list of
 * small numbers that `play` reads as edits, exchanges, undo and partitions. Gives every update that a
 * client emitted for its own edits, and the clients' documents, some of which lag or hold pending
 * structs.
 */
import fc from 'fast-check'
import * as Y from 'yjs'

export type Command = readonly [client: number, kind: number, place: number, choice: number]

export interface History {
  readonly updates: Uint8Array[]
  readonly documents: Y.Doc[]
}

export const commands = fc.array(
  fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 99 }), fc.nat({ max: 1000 }), fc.nat({ max: 1000 })),
  { minLength: 1, maxLength: 40, size: 'max' },
)
export const histories = commands.map(play)

/** One small, one of 32 bits as Yjs makes them, one that needs eight bytes. */
const clientIds = [7, 0xdeadbeef, 2 ** 52 + 1]
const strings = [
  'a',
  'bc',
  'hello',
  'é',
  '漢字かな',
  '😀',
  'x😀y',
  '👩‍👩‍👧',
  '\uFEFF',
  ' '.repeat(200),
  'ab\n',
]
const values = (choice: number): unknown[] => [
  [choice],
  [null, undefined, true, -choice],
  [1.5, 2 ** 40, -0.1, 10n ** 18n],
  [{ deep: [{ value: 'ü' }], empty: {} }],
  [new Uint8Array(choice % 50)],
  ['text', 'text'.repeat(20)],
  [[[]]],
]

/** Yjs takes undefined and bigint into an array only within another value. */
const elements = (list: unknown[]) =>
  list.map((value) => (value === undefined || typeof value === 'bigint' ? [value] : value))

export function play(history: readonly Command[]): History {
  const updates: Uint8Array[] = []
  const documents = clientIds.map((clientID, i) => {
    const document = new Y.Doc({ gc: i !== 1 })
    document.clientID = clientID
    document.on('update', (update: Uint8Array, _origin: unknown, _doc: Y.Doc, transaction: Y.Transaction) => {
      if (transaction.local) updates.push(update)
    })
    // Roots as clients have them: without a kind, Yjs cannot edit them.
    document.getText('text')
    document.getMap('map')
    document.getArray('array')
    document.getXmlFragment('xml')
    return document
  })
  const undo = new Y.UndoManager([documents[0]!.getText('text'), documents[0]!.getMap('map')], {
    captureTimeout: 0,
  })
  for (const [client, kind, place, choice] of history) {
    const document = documents[client]!
    if (kind < 70) document.transact(() => edit(document, kind, place, choice), 'edit')
    else if (kind < 75) undo.undo()
    else if (kind < 78) undo.redo()
    else if (kind < 90 && updates.length > 0) Y.applyUpdate(document, updates[choice % updates.length]!)
    else {
      const other = documents[place % documents.length]!
      Y.applyUpdate(document, Y.encodeStateAsUpdate(other, Y.encodeStateVector(document)))
    }
  }
  undo.destroy()
  return { updates, documents }
}

export function edit(document: Y.Doc, kind: number, place: number, choice: number): void {
  const text = document.getText('text')
  const map = document.getMap('map')
  const array = document.getArray('array')
  const xml = document.getXmlFragment('xml')
  const key = ['a', 'b', '', '__proto__'][place % 4]!
  if (kind < 20) {
    text.insert(place % (text.length + 1), strings[choice % strings.length]!)
  } else if (kind < 30) {
    const at = place % (text.length + 1)
    text.delete(at, Math.min(text.length - at, 1 + (choice % 5)))
  } else if (kind < 34) {
    const at = place % (text.length + 1)
    text.format(at, Math.min(text.length - at, 3), {
      bold: choice % 2 === 0 ? true : null,
      link: { to: 'x' },
    })
  } else if (kind < 36) {
    text.insertEmbed(place % (text.length + 1), { image: 'ä.png', size: choice })
  } else if (kind < 42) {
    map.set(key, values(choice)[choice % 7])
  } else if (kind < 44) {
    map.delete(key)
  } else if (kind < 46) {
    map.set(key, new Y.Doc({ guid: `sub${choice}`, meta: { choice }, autoLoad: choice % 2 === 0 }))
  } else if (kind < 49) {
    map.set(key, [new Y.Map(), new Y.Array(), new Y.Text('nested'), new Y.XmlText('x')][choice % 4])
  } else if (kind < 53) {
    const nested = map.get(key)
    if (nested instanceof Y.Map) nested.set('inner', choice)
    if (nested instanceof Y.Array) nested.insert(0, [choice, 'b', new Y.Map()])
    if (nested instanceof Y.Text) {
      nested.insert(nested.length, strings[choice % strings.length]!)
      nested.format(0, nested.length, { italic: choice % 3 === 0 ? null : true })
    }
  } else if (kind < 58) {
    array.insert(place % (array.length + 1), elements(values(choice)[choice % 7] as unknown[]))
  } else if (kind < 61) {
    const at = place % (array.length + 1)
    array.delete(at, Math.min(array.length - at, 1 + (choice % 3)))
  } else if (kind < 63) {
    array.push([new Y.Map([['k', 'v']]), new Y.Array()])
  } else if (kind < 67) {
    const element = new Y.XmlElement(choice % 2 === 0 ? 'p' : 'überschrift')
    element.setAttribute('class', 'c')
    element.insert(0, [
      new Y.XmlText('text'),
      new Y.XmlElement('br'),
      new Y.XmlHook('hook') as unknown as Y.XmlText,
    ])
    xml.insert(place % (xml.length + 1), [element])
  } else {
    if (xml.length > 0) xml.delete(place % xml.length, 1)
    text.insert(0, 'z')
    map.set('many', choice)
  }
}

/** The updates of a log: in any order, some twice, some missing, some merged or as whole states. */
export function logOf({ updates, documents }: History, choices: readonly number[]): Uint8Array[] {
  const log: Uint8Array[] = []
  for (const [i, choice] of choices.entries()) {
    const pick = (n: number) => updates[(choice * 7 + n * 13) % updates.length]!
    const document = documents[choice % documents.length]!
    if (updates.length === 0 || choice % 10 === 0) log.push(Y.encodeStateAsUpdate(document))
    else if (choice % 10 === 1) log.push(Y.mergeUpdates([pick(0), pick(1), pick(2)]))
    else if (choice % 10 === 2)
      log.push(Y.diffUpdate(Y.encodeStateAsUpdate(document), Y.encodeStateVector(documents[0]!)))
    else if (choice % 10 < 6) log.push(pick(0))
    else log.push(updates[i % updates.length]!)
  }
  return log
}
export const logChoices = fc.array(fc.nat({ max: 999 }), { maxLength: 25, size: 'max' })

/** A document that has applied the updates, and added no deletes of its own (see core/engine/yjs/compact.ts). */
export function replicaOf(updates: readonly Uint8Array[]): Y.Doc {
  const document = new Y.Doc()
  applyTo(document, updates)
  return document
}

export function applyTo(document: Y.Doc, updates: readonly Uint8Array[]): void {
  document.transact((transaction) => {
    for (const update of updates) Y.applyUpdate(document, update)
    transaction.local = true
  })
}

/**
 * The document with everything integrated that can be. Yjs may keep a struct pending whose dependencies have
 * come: for a struct that waits for client C while a later struct of C waits too, it notes only the clock
 * before the later one (seed -685816601 in coverage.test.ts), and tries again when that clock
 * has come, or when it is given the struct again.
 */
export function settled(document: Y.Doc): Y.Doc {
  return replicaOf([Y.encodeStateAsUpdate(document)])
}
