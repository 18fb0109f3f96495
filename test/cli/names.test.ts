/** Names of documents become ids, and ids names of files; never two of them one. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ExportFiles } from '../../cli/export-file.ts'
import { Names, parseRename, type Rename } from '../../cli/names.ts'
import { parseDocumentId } from '../../core/document-id.ts'

const names = (prefix: string, ...expressions: string[]): Names =>
  new Names({ id: null, prefix, renames: expressions.map((each) => parseRename(each) as Rename) })

describe('expressions', () => {
  test.each([
    ['s/^room:(.*)$/rooms\\/$1/', 'room:a', 'rooms/a'],
    ['s|^a/|b/|', 'a/c', 'b/c'],
    ['s/x/y/g', 'xx', 'yy'],
    ['s/X/y/i', 'xx', 'yx'],
    ['s#\\.md$##', 'notes.md', 'notes'],
    ['s/\\p{Lu}/-/gu', 'aÄb', 'a-b'],
    ['s|a\\|b|c|', 'a|b', 'c'],
  ])('%s makes of %s %s', (expression, name, id) => {
    expect(names('', expression).take(name)).toBe(id)
  })

  test.each(['', 's', 's/a', 's/a/b', 's/a/b/c/d', 's/(/b/', 's/a/b/x', 'y/a/b/', 'saabbc', 's a b '])(
    '%j is none',
    (expression) => expect(parseRename(expression)).toBeNull(),
  )
})

test('the prefix comes before what the expressions have made, one after the other', () => {
  expect(names('p/', 's/a/b/', 's/b/c/').take('a')).toBe('p/c')
})

test('an id is taken once', () => {
  const taken = names('', 's/.*/one/')
  taken.take('a')
  expect(() => taken.take('b')).toThrow(/a has become one already/)
})

const ids = fc
  .array(
    fc
      .array(
        fc.oneof(
          fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
          fc.string({
            unit: fc.constantFrom('a', 'A', '.', ' ', '~', '%', 'ü', '📄', '-'),
            minLength: 1,
            maxLength: 120,
          }),
          fc.constantFrom('con', 'NUL', 'com1', 'a.yjs', 'a%2Fb', '...', ' a '),
        ),
        { minLength: 1, maxLength: 3 },
      )
      .map((segments) => segments.join('/')),
    { minLength: 1, maxLength: 40 },
  )
  .map((all) => all.filter(isId))

test('every id has a file of its own, on any file system, inside the folder', () => {
  fc.assert(
    fc.property(ids, (all) => {
      const files = new ExportFiles()
      const byFile = new Map<string, string>()
      for (const id of all) {
        const file = files.take(id, '.yjs')
        expect(files.take(id, '.yjs')).toBe(file)
        expect(byFile.get(file.toLowerCase()) ?? id).toBe(id)
        byFile.set(file.toLowerCase(), id)
        for (const segment of file.split('/')) {
          expect(segment).toMatch(/^[A-Za-z0-9%_.,+@=~ -]+$/)
          expect(segment.length).toBeLessThan(200)
          expect(segment).not.toMatch(/^\.|^ | $|\.$/)
          expect(segment).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i)
        }
      }
    }),
    { numRuns: 300 },
  )
})

test('a file that an earlier export wrote stays its document’s', () => {
  const files = new ExportFiles([{ file: 'deals/A.yjs', id: 'deals/A' }])
  expect(files.take('deals/a', '.yjs')).toMatch(/^deals\/a~[0-9a-f]{16}\.yjs$/)
  expect(files.take('deals/A', '.yjs')).toBe('deals/A.yjs')
})

function isId(text: string): boolean {
  try {
    parseDocumentId(text)
    return true
  } catch {
    // What no document can be called.
    return false
  }
}
