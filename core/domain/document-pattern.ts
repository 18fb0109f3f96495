/**
 * Which documents an adapter takes: `notes/:id`. Segments between slashes; `:name` takes one segment whole, `:name*` at the
 * end takes one or more; everything else stands for itself. Ids are compared as they are, not as they stand in a
 * URL: nothing is decoded, no case is folded, no Unicode is normalised, and there are no empty segments.
 */

type NameIn<Segment> = Segment extends `:${infer Name}*`
  ? Name
  : Segment extends `:${infer Name}`
    ? Name
    : never
type NamesIn<Pattern> = Pattern extends `${infer First}/${infer Rest}`
  ? NameIn<First> | NamesIn<Rest>
  : NameIn<Pattern>

/** What `notes/:id` gives: `{ id: string }`. */
export type ParametersOf<Pattern extends string> = string extends Pattern
  ? Readonly<Record<string, string>>
  : { readonly [Name in NamesIn<Pattern>]: string }

export interface DocumentPattern {
  /** The parameters when the pattern takes the document, else null. */
  match(document: string): Readonly<Record<string, string>> | null
}

/** Throws an `Error` that says what is wrong with the pattern. */
export function parsePattern(pattern: string): DocumentPattern {
  const refuse = (why: string): never => {
    throw new Error(`the pattern "${pattern}" ${why}`)
  }
  const segments = pattern.split('/')
  const names = new Set<string>()
  for (const [i, segment] of segments.entries()) {
    if (segment === '') refuse('has an empty segment')
    if (!segment.startsWith(':')) {
      if (/[:*]/.test(segment)) refuse(`has "${segment}": a parameter is a whole segment, like /:id/`)
      continue
    }
    const [, name, rest] =
      /^:([A-Za-z_]\w*)(\*?)$/.exec(segment) ?? refuse(`has no valid name in "${segment}"`)
    if (rest === '*' && i < segments.length - 1) refuse(`has "${segment}" before its end`)
    if (names.has(name!)) refuse(`has two parameters named "${name}"`)
    names.add(name!)
  }
  return { match: (document) => matchSegments(segments, document.split('/')) }
}

function matchSegments(segments: readonly string[], given: readonly string[]): Record<string, string> | null {
  const takesRest = segments.at(-1)!.endsWith('*')
  if (takesRest ? given.length < segments.length : given.length !== segments.length) return null
  const parameters: [string, string][] = []
  for (const [i, segment] of segments.entries()) {
    if (segment.startsWith(':') && segment.endsWith('*'))
      parameters.push([segment.slice(1, -1), given.slice(i).join('/')])
    else if (segment.startsWith(':')) parameters.push([segment.slice(1), given[i]!])
    else if (segment !== given[i]) return null
  }
  return Object.fromEntries(parameters)
}
