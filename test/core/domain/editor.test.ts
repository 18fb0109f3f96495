/** The helpers on documents as TipTap stores them, and on trees that no editor would write. */
import { getSchema } from '@tiptap/core'
import { TaskItem, TaskList } from '@tiptap/extension-list'
import { Node } from '@tiptap/pm/model'
import StarterKit from '@tiptap/starter-kit'
import { prosemirrorToYDoc } from '@tiptap/y-tiptap'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { headings, links, mentions, plainText, tasks, wordCount } from '../../../core/domain/editor.ts'
import type { Value } from '../../../core/engine/live-document.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { runs } from '../engine/support.ts'

const text = (value: string, ...marks: object[]) => ({ type: 'text', text: value, marks })
const paragraph = (...content: object[]) => ({ type: 'paragraph', content })
const link = (href: string) => ({ type: 'link', attrs: { href } })

/** As the editor writes it into its field and the server reads it. */
function treeOf(...content: object[]) {
  const schema = getSchema([StarterKit, TaskList, TaskItem.configure({ nested: true })])
  const document = prosemirrorToYDoc(Node.fromJSON(schema, { type: 'doc', content }), 'body')
  return yjsEngine.open([Y.encodeStateAsUpdate(document)]).state.tree('body')
}

const tree = treeOf(
  { type: 'heading', attrs: { level: 2 }, content: [text('Tide '), text('tables', { type: 'bold' })] },
  paragraph(),
  paragraph(
    text('See '),
    text('the ', link('https://x.org')),
    text('table', { type: 'bold' }, link('https://x.org')),
    text(' and '),
    text('this', link('https://y.org')),
    { type: 'hardBreak' },
    text('or not.'),
  ),
  {
    type: 'taskList',
    content: [
      {
        type: 'taskItem',
        attrs: { checked: false },
        content: [
          paragraph(text('Fetch water')),
          {
            type: 'taskList',
            content: [{ type: 'taskItem', attrs: { checked: true }, content: [paragraph(text('Find it'))] }],
          },
        ],
      },
    ],
  },
  { type: 'horizontalRule' },
  { type: 'codeBlock', content: [text('let x = 1')] },
)

describe('on what TipTap wrote', () => {
  test('plain text has a line for each block with text', () => {
    expect(plainText(tree).split('\n')).toEqual([
      'Tide tables',
      'See the table and this',
      'or not.',
      'Fetch water',
      'Find it',
      'let x = 1',
    ])
  })

  test('headings have their level', () => {
    expect(headings(tree)).toEqual([{ level: 2, text: 'Tide tables' }])
  })

  test('tasks have their own text, and how deep they are', () => {
    expect(tasks(tree)).toEqual([
      { text: 'Fetch water', checked: false, depth: 0 },
      { text: 'Find it', checked: true, depth: 1 },
    ])
  })

  test('a link is one, whatever else marks parts of it', () => {
    expect(links(tree)).toEqual([
      { href: 'https://x.org', text: 'the table' },
      { href: 'https://y.org', text: 'this' },
    ])
  })
})

test('mentions have a label, and stand in the text', () => {
  const mention = (attributes: object) => ({ type: 'mention', attributes, content: [] })
  const content = [
    { type: 'text', text: 'Ask ', marks: [] },
    mention({ id: 'u1', label: 'Ada' }),
    mention({ id: 2 }),
    mention({}),
  ]
  const tree = { type: 'doc', attributes: {}, content: [{ type: 'paragraph', attributes: {}, content }] }
  expect(mentions(tree as Value)).toEqual([
    { id: 'u1', label: 'Ada' },
    { id: '2', label: '2' },
  ])
  expect(plainText(tree as Value)).toBe('Ask @Ada@2')
})

test.each([
  ['', 0],
  ['one', 1],
  ["Don't well-known 3.14 – e.g. naïve", 5],
  ['潮汐表 and カタ', 6],
  ['  … !', 0],
])('%s has %i words', (value, count) => {
  expect(wordCount(value)).toBe(count)
})

test('what no editor would write is left out, and never throws', () => {
  const key = fc.constantFrom('type', 'text', 'content', 'attributes', 'marks', 'level', 'x')
  const name = fc.constantFrom('doc', 'text', 'heading', 'taskItem', 'mention', 'link', 'hard_break')
  const { value } = fc.letrec<{ value: Value }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, depthSize: 'large' },
      name,
      fc.constantFrom(null, 1, true),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(key, fc.oneof(tie('value'), fc.array(tie('value'), { maxLength: 3 }), name)),
    ) as fc.Arbitrary<Value>,
  }))
  fc.assert(
    fc.property(value, (tree) => {
      for (const helper of [plainText, headings, tasks, mentions, links, wordCount]) helper(tree)
    }),
    runs(500),
  )
})
