/** Patterns of documents: what they match, against a matcher that tries everything, and that they cannot be slow. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDocumentId } from '../../../core/document-id.ts'
import { grantsSchema, rightsOf } from '../../../server/access/grants.ts'
import { canBegin, matches, type Pattern, parsePattern } from '../../../server/access/pattern.ts'

const parsed = (text: string): Pattern => {
  const pattern = parsePattern(text)
  if (pattern === null) throw new Error(`no pattern: ${text}`)
  return pattern
}
const has = (pattern: string, id: string): boolean => matches(parsed(pattern), id.split('/'))

test.each([
  ['deals/*', ['deals/1', 'deals/*'], ['deals', 'deals/1/2', 'Deals/1', 'xdeals/1', 'notes/deals/1']],
  ['deals/**', ['deals', 'deals/1', 'deals/1/2'], ['deals2', 'deals2/1', 'notes/deals/1']],
  ['**', ['a', 'a/b'], []],
  ['*', ['a', 'abc'], ['a/b']],
  ['**/notes', ['notes', 'a/notes', 'a/b/notes'], ['a/notes/b', 'anotes']],
  ['a/**/b/*/c', ['a/b/1/c', 'a/x/b/1/c', 'a/b/b/b/1/c'], ['a/b/c', 'a/b/1/2/c', 'a/b/1/c/d']],
  ['h*-*2', ['h-2', 'harvest-42', 'h-2-2'], ['harvest42', 'h2', 'harvest-4']],
  ['a*a', ['aa', 'aba'], ['a']],
  ['ab*ba', ['abba', 'ab-ba'], ['aba']],
  ['a.c', ['a.c'], ['abc']],
  ['[ab]?{c,d}(e)+$', ['[ab]?{c,d}(e)+$'], ['a', 'ac']],
])('%s', (pattern, those, others) => {
  expect(those.filter((id) => !has(pattern, id))).toEqual([])
  expect(others.filter((id) => has(pattern, id))).toEqual([])
})

test.each(['', 'a**', '**a', 'a/b**/c', '***', 'x'.repeat(513)])('%j is no pattern', (text) => {
  expect(parsePattern(text)).toBeNull()
})

/** Tries every way in which each asterisk can be read. */
function naive(pattern: readonly string[], segments: readonly string[]): boolean {
  const [part, ...parts] = pattern
  const [segment, ...rest] = segments
  if (part === undefined) return segment === undefined
  if (part === '**') return naive(parts, segments) || (segment !== undefined && naive(pattern, rest))
  return segment !== undefined && naiveSegment(part, segment) && naive(parts, rest)
}

function naiveSegment(part: string, segment: string): boolean {
  if (part === '') return segment === ''
  if (part[0] !== '*') return part[0] === segment[0] && naiveSegment(part.slice(1), segment.slice(1))
  return naiveSegment(part.slice(1), segment) || (segment !== '' && naiveSegment(part, segment.slice(1)))
}

const letters = fc.constantFrom('a', 'b')
const ids = fc
  .array(fc.string({ unit: letters, minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 })
  .map((segments) => segments.join('/'))
const patterns = fc
  .array(
    fc.oneof(
      fc.constant('**'),
      fc
        .string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 5 })
        .filter((part) => !part.includes('**')),
    ),
    { minLength: 1, maxLength: 5 },
  )
  .map((parts) => parts.join('/'))

describe('against every way of reading it', () => {
  test('a pattern matches the same documents', () => {
    let matched = 0
    fc.assert(
      fc.property(patterns, ids, (pattern, id) => {
        const expected = naive(pattern.split('/'), id.split('/'))
        if (expected) matched++
        expect(has(pattern, id)).toBe(expected)
      }),
      { numRuns: 5_000 },
    )
    expect(matched).toBeGreaterThan(100)
  })

  test('a prefix may be listed exactly when some document with it matches', () => {
    const all: string[] = []
    const grow = (id: string, depth: number): void => {
      if (!id.endsWith('/')) all.push(id)
      if (depth === 0) return
      for (const next of ['a', 'b']) grow(id + next, depth - 1)
      if (!id.endsWith('/')) grow(`${id}/`, depth - 1)
    }
    for (const first of ['a', 'b']) grow(first, 7)
    const short = fc
      .array(fc.constantFrom('**', '*', 'a', 'b', 'a*', '*b'), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join('/'))
    const prefixes = fc.oneof(fc.constant(''), ids).map((id) => id.slice(0, 2))
    fc.assert(
      fc.property(short, prefixes, (pattern, prefix) => {
        const expected = all.some((id) => id.startsWith(prefix) && has(pattern, id))
        expect(canBegin(parsed(pattern), prefix)).toBe(expected)
      }),
      { numRuns: 200 },
    )
  })
})

test('no pattern takes more than pattern × document steps', () => {
  const id = `${'a/'.repeat(255)}a`
  const long = 'a'.repeat(512)
  for (const [pattern, against] of [
    [`${'**/a/'.repeat(100)}b`, id],
    [`${'*a'.repeat(250)}b`, long],
    [`${'**/*a*/'.repeat(70)}b`, id],
  ] as const) {
    let steps = 0
    const segments = new Proxy(against.split('/'), {
      get(target, key) {
        steps++
        return Reflect.get(target, key) as unknown
      },
    })
    expect(matches(parsed(pattern), segments)).toBe(false)
    expect(steps).toBeLessThan(3 * pattern.length * against.length)
  }
})

describe('rights', () => {
  const rights = (...documents: readonly { match: string; access: string }[]) =>
    rightsOf(grantsSchema.parse(documents))
  const access = (of: ReturnType<typeof rights>, id: string) => of.accessTo(parseDocumentId(id))

  test('the highest access of all patterns that match counts, in whatever order', () => {
    const grants = [
      { match: 'deals/**', access: 'read' },
      { match: 'deals/1', access: 'admin' },
      { match: 'deals/*', access: 'write' },
      { match: 'deals/1', access: 'read' },
      { match: 'deals/2', access: 'read' },
      { match: '**/3', access: 'admin' },
    ]
    for (const of of [rights(...grants), rights(...grants.toReversed())]) {
      expect(['deals/1', 'deals/2', 'deals/3', 'deals/1/a', 'notes'].map((id) => access(of, id))).toEqual([
        'admin',
        'write',
        'admin',
        'read',
        'none',
      ])
    }
  })

  test('only `**` is access to all', () => {
    expect(rights({ match: '*', access: 'admin' }).accessToAll).toBe('none')
    expect(rights({ match: '**/a', access: 'admin' }, { match: '**', access: 'read' }).accessToAll).toBe(
      'read',
    )
    expect(rights({ match: '**', access: 'read' }, { match: '**/**', access: 'admin' }).accessToAll).toBe(
      'admin',
    )
  })

  test('none without patterns', () => {
    expect(access(rights(), 'a')).toBe('none')
    expect(rights().mayList('')).toBe(false)
  })

  test("Tidemark's own documents are nobody's", () => {
    const id = '\u0000access' as ReturnType<typeof parseDocumentId>
    expect(rights({ match: '**', access: 'admin' }).accessTo(id)).toBe('none')
  })

  test('1,000 patterns and not one more', () => {
    const grants = Array.from({ length: 1_000 }, (_, i) => ({ match: `${i}`, access: 'read' }))
    expect(access(rights(...grants), '999')).toBe('read')
    expect(() => rights(...grants, { match: 'x', access: 'read' })).toThrowError()
  })
})
