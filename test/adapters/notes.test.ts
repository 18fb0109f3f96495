/** The adapter of the editor's documents, on what TipTap writes and on what no editor would. */
import { getSchema } from '@tiptap/core'
import { TaskItem, TaskList } from '@tiptap/extension-list'
import { Node } from '@tiptap/pm/model'
import StarterKit from '@tiptap/starter-kit'
import { prosemirrorToYXmlFragment } from '@tiptap/y-tiptap'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { notes } from '../../adapters/notes.ts'
import { rowsOf } from '../../core/domain/rows-of.ts'

const schema = getSchema([StarterKit, TaskList, TaskItem.configure({ nested: true })])
const text = (value: string, ...marks: object[]) => ({ type: 'text', text: value, marks })
const paragraph = (...content: object[]) => ({ type: 'paragraph', content })
const heading = (level: number, value: string) => ({
  type: 'heading',
  attrs: { level },
  content: [text(value)],
})
const task = (checked: boolean, value: string, ...within: object[]) => ({
  type: 'taskItem',
  attrs: { checked },
  content: [paragraph(text(value)), ...within],
})
const taskList = (...content: object[]) => ({ type: 'taskList', content })

/** As the editor has it: title and body. */
function note(title: string, ...content: object[]): Y.Doc {
  const doc = new Y.Doc()
  doc.getText('title').insert(0, title)
  prosemirrorToYXmlFragment(Node.fromJSON(schema, { type: 'doc', content }), doc.getXmlFragment('body'))
  return doc
}

const rows = (doc: Y.Doc, document = 'notes/1') => rowsOf(notes, document, [Y.encodeStateAsUpdate(doc)])

test('a note has its title, its text and its words', () => {
  const doc = note('Tides', heading(2, 'When to go'), paragraph(text('Low water is at nine.')))
  expect(rows(doc)['notes']).toEqual([
    { document: 'notes/1', title: 'Tides', text: 'When to go\nLow water is at nine.', words: 8 },
  ])
})

test('one without a title is called by how it begins', () => {
  const of = (doc: Y.Doc) => rows(doc)['notes']?.[0]?.['title']
  expect(of(note('', paragraph(), paragraph(text('Low water')), paragraph(text('at nine'))))).toBe(
    'Low water',
  )
  expect(of(note('  ', paragraph(text('y'.repeat(300)))))).toHaveLength(80)
  expect(of(note('', paragraph()))).toBe('')
})

test('headings, tasks and links have rows in the order of the text', () => {
  const link = { type: 'link', attrs: { href: 'https://tides.example' } }
  const doc = note(
    'Trip',
    heading(1, 'Before'),
    taskList(task(true, 'Ask Ida'), task(false, 'Pack', taskList(task(false, 'Boots')))),
    heading(3, 'After'),
    paragraph(text('See '), text('the table', link)),
    taskList(task(false, 'Write it down')),
  )
  const of = (row: object) => ({ document: 'notes/1', ...row })
  expect(rows(doc)).toMatchObject({
    headings: [of({ position: 0, level: 1, text: 'Before' }), of({ position: 1, level: 3, text: 'After' })],
    tasks: [
      of({ position: 0, depth: 0, text: 'Ask Ida', done: true }),
      of({ position: 1, depth: 0, text: 'Pack', done: false }),
      of({ position: 2, depth: 1, text: 'Boots', done: false }),
      of({ position: 3, depth: 0, text: 'Write it down', done: false }),
    ],
    links: [of({ position: 0, href: 'https://tides.example', text: 'the table' })],
  })
})

test('an empty document, and one of another app, have a note with nothing in it', () => {
  const other = new Y.Doc()
  other.getArray('notes').push(['first'])
  for (const doc of [new Y.Doc(), other])
    expect(rows(doc)).toEqual({
      notes: [{ document: 'notes/1', title: '', text: '', words: 0 }],
      headings: [],
      tasks: [],
      links: [],
    })
})

test('what no editor would write still fits the tables', () => {
  const doc = new Y.Doc()
  const body = doc.getXmlFragment('body')
  for (const level of ['1.5', '-3', '1e300', 'NaN', '']) {
    const element = new Y.XmlElement('heading')
    element.setAttribute('level', level)
    body.push([element])
  }
  const levels = rows(doc)['headings']?.map(({ level }) => level)
  expect(levels).toEqual([1, 1, 6, 1, 1])
})

test('it takes the ids that the editor makes, and no others', () => {
  expect(notes.contextOf('notes/k3mz9x2abc')).not.toBeNull()
  expect(notes.contextOf('notes/a/b')).toBeNull()
  expect(notes.contextOf('deals/harvest-42')).toBeNull()
})
