/**
 * Which document of the relay a document of a source becomes:
 *
 *   id = prefix + (what the expressions of --map make of its name, one after the other)
 *
 * Two that would become one are an error of the second: merged they could not be told apart any more.
 */
import { type DocumentId, parseDocumentId } from '../core/document-id.ts'
import { SourceError } from './sources/source.ts'

export type Rename = (name: string) => string

export interface Naming {
  /** For a source with one document, instead of its name. */
  readonly id: string | null
  readonly prefix: string
  readonly renames: readonly Rename[]
}

/** `s/pattern/replacement/flags` as sed has it, with JavaScript's patterns; any sign may stand for the slash. Null when it is none. */
export function parseRename(expression: string): Rename | null {
  const sign = expression[1]
  if (expression[0] !== 's' || sign === undefined || /[\w\s\\]/.test(sign)) return null
  const [pattern, replacement, flags, ...more] = expression.slice(2).split(new RegExp(`(?<!\\\\)\\${sign}`))
  if (pattern === undefined || replacement === undefined || flags === undefined || more.length > 0)
    return null
  if (!/^[giu]*$/.test(flags)) return null
  try {
    // What means something in a pattern keeps its backslash: it stands for itself there.
    const isSpecial = /[$()*+./?[\\\]^{|}]/.test(sign)
    const matched = new RegExp(isSpecial ? pattern : pattern.replaceAll(`\\${sign}`, sign), flags)
    const written = replacement.replaceAll(`\\${sign}`, sign)
    return (name) => name.replace(matched, written)
  } catch {
    // No pattern of JavaScript's.
    return null
  }
}

export class Names {
  private readonly naming: Naming
  private readonly taken = new Map<DocumentId, string>()

  constructor(naming: Naming) {
    this.naming = naming
  }

  /** Throws `invalid_document_id`, or `SourceError` for an id that another document has got. */
  take(name: string): DocumentId {
    const { id, prefix, renames } = this.naming
    const renamed = id ?? prefix + renames.reduce((result, rename) => rename(result), name)
    const document = parseDocumentId(renamed)
    const before = this.taken.get(document)
    if (before !== undefined)
      throw new SourceError(`${before} has become ${document} already; give them different ids with --map`)
    this.taken.set(document, name)
    return document
  }
}
