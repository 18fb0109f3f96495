/**
 * Which documents somebody may read, as a database can ask it of many rows at once: a list of ids and beginnings, and what is
 * left of patterns. The same answer as `matches`, which a property test holds.
 *
 *   deals/h1      an id
 *   deals/**      the id `deals`, and what begins with `deals/`: up to `depthMax` segments stand among the ids, with a slash at their
 *                 end, since a beginning of so many segments can be looked up; longer ones are compared one by one
 *   deals/h*      a pattern: segments between slashes, each `**` or as LIKE has it (`%` for an asterisk)
 */
import { isLiteral, parsePattern } from './pattern.ts'

/** Segments of beginnings that are looked up. */
export const depthMax = 3

export interface Readable {
  readonly all: boolean
  /** No id ends with a slash: those that do are beginnings. */
  readonly ids: readonly string[]
  readonly prefixes: readonly string[]
  readonly patterns: readonly string[]
  /** Of each pattern, what all that it matches begins with. */
  readonly starts: readonly string[]
}

/** Of patterns as they were granted. */
export function readableOf(granted: readonly string[]): Readable {
  const ids = new Set<string>()
  const prefixes = new Set<string>()
  const patterns = new Map<string, string>()
  for (const text of granted) {
    // No id has such characters, and a database would read others.
    if (text.includes('\0') || !text.isWellFormed()) continue
    // Nor empty segments.
    if (text.split('/').includes('')) continue
    const pattern = parsePattern(text)
    if (pattern === null) throw new Error('not a pattern')
    const before = pattern.slice(0, -1)
    if (pattern.length === 1 && pattern[0] === '**')
      return { all: true, ids: [], prefixes: [], patterns: [], starts: [] }
    if (isLiteral(pattern)) ids.add(pattern.join('/'))
    else if (pattern.at(-1) === '**' && isLiteral(before)) {
      ids.add(before.join('/'))
      const beginnings = before.length > depthMax ? prefixes : ids
      beginnings.add(`${before.join('/')}/`)
    } else
      patterns.set(
        pattern.map((part) => (part === '**' ? part : part.map(likeLiteral).join('%'))).join('/'),
        startOf(text),
      )
  }
  return {
    all: false,
    ids: [...ids],
    prefixes: [...prefixes],
    patterns: [...patterns.keys()],
    starts: [...patterns.values()],
  }
}

/** Up to the first asterisk; without the slash before `**`, which may stand for no segment. */
function startOf(pattern: string): string {
  const star = pattern.indexOf('*')
  return pattern.startsWith('/**', star - 1) ? pattern.slice(0, star - 1) : pattern.slice(0, star)
}

const likeLiteral = (text: string): string => text.replaceAll(/[\\%_]/g, '\\$&')
