/** A pattern takes exactly the ids it says, and gives back what the parameters stand for. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDocumentId } from '../../../core/document-id.ts'
import { parsePattern } from '../../../core/domain/document-pattern.ts'
import { runs } from '../engine/support.ts'

const segment = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 6 })
  .filter((text) => !text.includes('/') && isId(text))

describe('a pattern of documents', () => {
  test.each([
    ['notes/:id', 'notes/a', { id: 'a' }],
    ['notes/:id', 'notes/:id', { id: ':id' }],
    ['notes/:id', 'notes/ä %2F 漢', { id: 'ä %2F 漢' }],
    ['a/:x/b/:rest*', 'a/1/b/2', { x: '1', rest: '2' }],
    ['a/:x/b/:rest*', 'a/1/b/2/3/4', { x: '1', rest: '2/3/4' }],
    [':all*', 'any/thing', { all: 'any/thing' }],
    ['settings', 'settings', {}],
    [':__proto__', 'x', Object.fromEntries([['__proto__', 'x']])],
    ['notes/:id', 'notes', null],
    ['notes/:id', 'notes/a/b', null],
    ['notes/:id', 'Notes/a', null],
    ['notes/:id', 'notesa', null],
    ['a/:x/b/:rest*', 'a/1/b', null],
    ['n.tes', 'notes', null],
    ['é', 'e\u0301', null],
  ])('%s on %s: %j', (pattern, document, parameters) => {
    expect(parsePattern(pattern).match(document)).toEqual(parameters)
  })

  test.each([
    ['', 'has an empty segment'],
    ['/a', 'has an empty segment'],
    ['a//b', 'has an empty segment'],
    ['notes-:id', 'a parameter is a whole segment'],
    ['notes/*', 'a parameter is a whole segment'],
    [':rest*/a', 'before its end'],
    [':', 'no valid name'],
    [':a-b', 'no valid name'],
    [':a/:a', 'two parameters named "a"'],
  ])('%s is refused: %s', (pattern, why) => {
    expect(() => parsePattern(pattern)).toThrow(why)
  })

  test('gives back the segments of every id', () => {
    const pattern = parsePattern('x/:a/:b/:c*')
    const ids = fc.tuple(segment, segment, fc.array(segment, { minLength: 1, maxLength: 3 }))
    fc.assert(
      fc.property(ids, ([a, b, c]) => {
        const document = `x/${a}/${b}/${c.join('/')}`
        expect(pattern.match(document)).toEqual({ a, b, c: c.join('/') })
        expect(parsePattern('x/:a/:b').match(document)).toBeNull()
      }),
      runs(200),
    )
  })
})

function isId(text: string): boolean {
  try {
    return parseDocumentId(text) === text
  } catch {
    // That it is none is the answer.
    return false
  }
}
