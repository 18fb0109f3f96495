/** When an import counts as one: for each engine, whatever the relay has made of the bytes meanwhile. */
import * as Automerge from '@automerge/automerge'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { contentOf, differenceOf } from '../../cli/content.ts'
import { engines } from '../../core/engine/engines.ts'

interface Written {
  /** In their order. */
  readonly updates: readonly Uint8Array[]
  /** All of it, as the engine's own library saves it. */
  readonly saved: Uint8Array
  /** The same, and something by somebody else. */
  readonly more: Uint8Array
}

function writtenWithYjs(): Written {
  const doc = new Y.Doc()
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const text = doc.getText('text')
  for (let i = 0; i < 10; i++) text.insert(i % 3, `${i} tonnes `)
  text.format(0, 4, { bold: true })
  text.delete(2, 5)
  doc.getMap('deal').set('price', 1)
  doc.getMap('deal').set('price', 2)
  const saved = Y.encodeStateAsUpdate(doc)
  const other = new Y.Doc()
  Y.applyUpdate(other, saved)
  other.getText('text').insert(0, 'theirs')
  return { updates, saved, more: Y.encodeStateAsUpdate(other) }
}

function writtenWithAutomerge(): Written {
  let doc = Automerge.from<{ text: string; price?: number }>({ text: '' })
  const updates = [...Automerge.getAllChanges(doc)]
  for (let i = 0; i < 10; i++) {
    doc = Automerge.change(doc, (draft) => {
      Automerge.splice(draft, ['text'], i % 3, 0, `${i} tonnes `)
      draft.price = i
    })
    updates.push(Automerge.getLastLocalChange(doc)!)
  }
  const saved = Automerge.save(doc)
  const other = Automerge.change(Automerge.clone(doc), (draft) => {
    draft.price = 100
  })
  return { updates, saved, more: Automerge.save(other) }
}

describe.each([
  ['yjs', writtenWithYjs],
  ['automerge', writtenWithAutomerge],
] as const)('%s', (name, write) => {
  const engine = engines[name]

  test('the same content is no difference, in whatever bytes', async () => {
    const { updates, saved } = write()
    await engine.load()
    const forms = [[...updates], [saved], [saved, ...updates], [engine.compact(updates).bytes]]
    for (const source of forms)
      for (const held of forms) expect(differenceOf(await contentOf(source), engine.merge(held))).toBeNull()
  })

  test('nor is what others have written', async () => {
    const { updates, saved, more } = write()
    expect(differenceOf(await contentOf([saved]), more)).toBeNull()
    expect(differenceOf(await contentOf(updates), more)).toBeNull()
  })

  test('any update that is missing is seen', async () => {
    const { updates, saved, more } = write()
    expect(differenceOf(await contentOf([more]), saved)).toMatch(/lacks/)
    for (const content of [await contentOf([saved]), await contentOf(updates)])
      for (const missing of updates) {
        const others = updates.filter((update) => update !== missing)
        expect(differenceOf(content, engine.merge(others))).toMatch(/lacks/)
        expect(differenceOf(content, engine.compact(others).bytes)).toMatch(/lacks/)
      }
  })

  test('a document of both engines is none', async () => {
    await expect(contentOf([writtenWithYjs().saved, writtenWithAutomerge().saved])).rejects.toThrow(
      /of Yjs and of Automerge/,
    )
  })
})

test('yjs: other content under the same names is seen', async () => {
  const write = (word: string): Uint8Array => {
    const doc = new Y.Doc()
    doc.clientID = 7
    doc.getText('text').insert(0, `Forty tonnes of ${word}`)
    doc.getText('text').format(0, 5, { bold: true })
    return Y.encodeStateAsUpdate(doc)
  }
  expect(differenceOf(await contentOf([write('wheat')]), write('wheat'))).toBeNull()
  expect(differenceOf(await contentOf([write('wheat')]), write('steel'))).toMatch(/other content/)
})
