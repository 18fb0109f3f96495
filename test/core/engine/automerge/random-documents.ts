/**
 * Random histories of a few Automerge replicas on one document, as fast-check values that shrink. Gives every change that a
 * replica made, and the replicas, some of which lag.
 */
import * as A from '@automerge/automerge'
import fc from 'fast-check'

export type Content = Record<string, unknown>
export interface History {
  readonly changes: Uint8Array[]
  readonly replicas: A.Doc<Content>[]
}

export const commands = fc.array(
  fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 99 }), fc.nat({ max: 1000 }), fc.nat({ max: 1000 })),
  { minLength: 1, maxLength: 40, size: 'max' },
)
export const histories = commands.map(play)

/** Orders of a log's updates: picks of any change, more than once or never. */
export const picks = fc.array(fc.nat({ max: 10_000 }), { maxLength: 60 })

const actors = ['aa', 'bb01', 'cc02030405060708090a0b0c0d0e0f10']
const words = ['a', 'bc', 'hello ', 'é', '漢字かな', '😀', ' '.repeat(300)]
const values = (choice: number): unknown =>
  [
    choice,
    null,
    true,
    1.5,
    'text',
    { deep: [{ value: 'ü' }] },
    [[]],
    new Uint8Array(choice % 50),
    new Date(choice),
  ][choice % 9]

export function play(history: readonly (readonly [number, number, number, number])[]): History {
  const changes: Uint8Array[] = []
  const replicas = actors.map((actor) => A.init<Content>({ actor }))
  for (const [who, kind, place, choice] of history) {
    if (kind < 65) {
      const changed = A.change(replicas[who]!, { time: 0 }, (doc) =>
        edit(doc, Math.floor((kind * 85) / 65), place, choice),
      )
      const last = A.getLastLocalChange(changed)
      if (changed !== replicas[who] && last !== undefined) changes.push(last)
      replicas[who] = changed
    } else if (kind < 90) replicas[who] = A.merge(replicas[who]!, replicas[(who + 1 + (place % 2)) % 3]!)
    else if (changes.length > 0)
      [replicas[who]] = A.applyChanges(replicas[who]!, [changes[choice % changes.length]!])
  }
  return { changes, replicas }
}

export function edit(doc: Content, kind: number, place: number, choice: number): void {
  const key = ['a', 'b', '', '__proto__x'][place % 4]!
  if (kind < 15) {
    if (typeof doc['text'] !== 'string') doc['text'] = ''
    A.splice(doc, ['text'], place % ((doc['text'] as string).length + 1), 0, words[choice % words.length]!)
  } else if (kind < 22) {
    const length = typeof doc['text'] === 'string' ? doc['text'].length : 0
    if (length > 0)
      A.splice(doc, ['text'], place % length, 1 + (choice % Math.min(3, length - (place % length))))
  } else if (kind < 27) {
    const length = typeof doc['text'] === 'string' ? doc['text'].length : 0
    if (length > 1)
      A.mark(
        doc,
        ['text'],
        { start: 0, end: 1 + (place % (length - 1)), expand: 'both' },
        'bold',
        choice % 3 > 0 ? true : null,
      )
  } else if (kind < 45) {
    doc['map'] ??= {}
    ;(doc['map'] as Content)[key] = values(choice)
  } else if (kind < 50) {
    if (doc['map'] !== undefined) delete (doc['map'] as Content)[key]
  } else if (kind < 55) {
    const inner = (doc['map'] as Content | undefined)?.[key]
    if (inner !== null && typeof inner === 'object' && 'deep' in inner) (inner as Content)['more'] = choice
  } else if (kind < 68) {
    doc['list'] ??= []
    const list = doc['list'] as unknown[]
    list.splice(place % (list.length + 1), 0, values(choice), { n: choice })
  } else if (kind < 74) {
    const list = doc['list'] as unknown[] | undefined
    if (list !== undefined && list.length > 0) list.splice(place % list.length, 1 + (choice % 2))
  } else if (kind < 79) {
    const list = doc['list'] as unknown[] | undefined
    if (list !== undefined && list.length > 0) list[place % list.length] = values(choice)
  } else if (kind < 81) {
    delete doc[['map', 'list', 'text', 'counter'][choice % 4]!]
  } else if (doc['counter'] instanceof A.Counter) doc['counter'].increment(choice)
  else doc['counter'] = new A.Counter(choice)
}

/** All that can be told apart from outside. */
export function contentOf(doc: A.Doc<Content>) {
  return {
    heads: A.getHeads(doc),
    missing: A.getMissingDeps(doc, []),
    json: JSON.stringify(A.toJS(doc), sorted),
  }
}

function sorted(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof A.Counter)
    return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

export function replicaOf(updates: readonly Uint8Array[]): A.Doc<Content> {
  let doc = A.init<Content>()
  for (const update of updates) doc = A.loadIncremental(doc, update)
  return doc
}
