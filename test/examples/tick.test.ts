/** Which task is ticked, from a row that says where it was: held against the rows of the adapter. */
import { getSchema } from '@tiptap/core'
import { TaskItem, TaskList } from '@tiptap/extension-list'
import { Node } from '@tiptap/pm/model'
import StarterKit from '@tiptap/starter-kit'
import { prosemirrorToYDoc } from '@tiptap/y-tiptap'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { notes } from '../../adapters/notes.ts'
import { rowsOf } from '../../core/domain/rows-of.ts'
import { taskAt } from '../../examples/editor/src/tick.ts'

const schema = getSchema([StarterKit, TaskList, TaskItem.configure({ nested: true })])
const text = (value: string, ...marks: object[]) => ({ type: 'text', text: value, marks })
const paragraph = (...content: object[]) => ({ type: 'paragraph', content })
const task = (...content: object[]) => ({ type: 'taskItem', attrs: { checked: false }, content })
const taskList = (...content: object[]) => ({ type: 'taskList', content })

/** Of lists, quotations, nested tasks, marks, breaks: whatever a task's text is made of. */
const document = (): Y.Doc =>
  prosemirrorToYDoc(
    Node.fromJSON(schema, {
      type: 'doc',
      content: [
        taskList(
          task(paragraph(text('Ask '), text('Ida', { type: 'bold' }), text(' & <Ravi>'))),
          task(
            paragraph(text('Pack')),
            paragraph(text('for'), { type: 'hardBreak' }, text('two')),
            taskList(task(paragraph(text('Boots'))), task(paragraph(text('Rope')))),
          ),
        ),
        { type: 'blockquote', content: [taskList(task(paragraph(text('Rope'))), task(paragraph()))] },
      ],
    }),
    'body',
  )
const rows = (doc: Y.Doc) => rowsOf(notes, 'notes/1', [Y.encodeStateAsUpdate(doc)])['tasks'] ?? []

test('the task of each row is found, and ticking it changes that row and no other', () => {
  const before = rows(document())
  expect(before.map(({ text }) => text)).toEqual([
    'Ask Ida & <Ravi>',
    'Pack\nfor\ntwo',
    'Boots',
    'Rope',
    'Rope',
    '',
  ])
  for (const { position, text } of before) {
    const doc = document()
    const found = taskAt(doc, Number(position), String(text)) as Y.XmlElement<{ checked: boolean }> | null
    found?.setAttribute('checked', true)
    expect(rows(doc)).toEqual(before.map((row) => ({ ...row, done: row['position'] === position })))
  }
})

test('a task that moved is found by its text; one that is not there, or there twice, is left alone', () => {
  const doc = document()
  const textOf = (position: number, wanted: string): string | null =>
    taskAt(doc, position, wanted)
      ?.toString()
      .replace(/<[^>]*>/g, '') ?? null
  expect(textOf(7, 'Boots')).toBe('Boots')
  expect(textOf(0, 'Boots')).toBe('Boots')
  expect(textOf(3, 'Rope')).toBe('Rope')
  expect(textOf(0, 'Rope')).toBeNull()
  expect(textOf(2, 'Gone')).toBeNull()
})
