/**
 * Patterns of document ids, as tokens and the authorisation service grant them. An id is matched as a whole,
 * case-sensitively, segment by segment:
 *
 *   *    any run of characters within one segment, also none: `deals/h*` has `deals/harvest`, not `deals/h/1`
 *   **   a segment of its own: any number of segments, also none: `deals/**` has `deals`, `deals/a` and `deals/a/b`
 *   else itself; there is nothing to escape, and no id has an empty segment
 *
 * Matching goes back to the last `**` only, and searches texts between asterisks from the left, which is enough
 * because what an earlier asterisk took can never help a later part. So it takes at most pattern × id steps, both
 * of 512 bytes at most, whatever the pattern. Rejected: regular expressions, whose backtracking can take for ever,
 * and a library, whose dialect (braces, classes, negation) would be ours to explain and to keep.
 */

/** A segment: `**`, or the texts between its asterisks (one text: no asterisk). */
type Part = '**' | readonly string[]
export type Pattern = readonly Part[]

export const patternLengthMax = 512

/** Null for what is no pattern: empty, too long, or with a `**` that shares its segment (`deals**`). */
export function parsePattern(text: string): Pattern | null {
  if (text.length === 0 || text.length > patternLengthMax) return null
  const parts: Part[] = []
  for (const segment of text.split('/')) {
    if (segment !== '**') {
      if (segment.includes('**')) return null
      parts.push(segment.split('*'))
    } else if (parts.at(-1) !== '**') parts.push('**')
  }
  return parts
}

/** One text for each pattern, however it was written. */
export function textOf(pattern: Pattern): string {
  return pattern.map((part) => (part === '**' ? part : part.join('*'))).join('/')
}

export function isLiteral(pattern: Pattern): boolean {
  return pattern.every((part) => part !== '**' && part.length === 1)
}

export function matches(pattern: Pattern, segments: readonly string[]): boolean {
  let at = 0
  let segment = 0
  let retryAt = -1
  let retrySegment = 0
  while (segment < segments.length) {
    const part = pattern[at]
    if (part === '**') {
      retryAt = ++at
      retrySegment = segment
    } else if (part !== undefined && matchesSegment(part, segments[segment]!)) {
      at++
      segment++
    } else if (retryAt !== -1) {
      at = retryAt
      segment = ++retrySegment
    } else return false
  }
  while (pattern[at] === '**') at++
  return at === pattern.length
}

/** Whether some id that begins with `prefix` can match; the prefix may end anywhere, also inside a segment. */
export function canBegin(pattern: Pattern, prefix: string): boolean {
  const segments = prefix.split('/')
  const last = segments.length - 1
  for (let at = 0; at <= last; at++) {
    const part = pattern[at]
    // What follows can be anything, so also what the rest of the pattern asks for.
    if (part === '**') return true
    if (part === undefined) return false
    const segment = segments[at]!
    if (at < last ? !matchesSegment(part, segment) : !segmentCanBegin(part, segment)) return false
  }
  return true
}

function matchesSegment(texts: readonly string[], segment: string): boolean {
  const first = texts[0]!
  if (texts.length === 1) return segment === first
  const last = texts.at(-1)!
  const end = segment.length - last.length
  if (first.length > end || !segment.startsWith(first) || !segment.endsWith(last)) return false
  let from = first.length
  for (let i = 1; i < texts.length - 1; i++) {
    const found = segment.indexOf(texts[i]!, from)
    if (found === -1) return false
    from = found + texts[i]!.length
    if (from > end) return false
  }
  return true
}

/** The first asterisk can take whatever of the beginning is beyond the first text. */
function segmentCanBegin(texts: readonly string[], beginning: string): boolean {
  const first = texts[0]!
  return first.startsWith(beginning) || (texts.length > 1 && beginning.startsWith(first))
}
