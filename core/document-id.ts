/**
 * A document's id is a path such as `deals/harvest-42`: segments joined by `/`, none of them empty,
 * at most 512 bytes of UTF-8, no control characters. The same id is percent-encoded in URLs.
 */
import { TidemarkError } from './protocol/error-codes.ts'

declare const brand: unique symbol
export type DocumentId = string & { readonly [brand]: 'DocumentId' }

export const documentIdBytesMax = 512

/** The id a string names, or `invalid_document_id`. */
export function parseDocumentId(text: string): DocumentId {
  const refuse = (why: string): never => {
    throw new TidemarkError('invalid_document_id', `Document id ${why}`)
  }
  if (text.length === 0) refuse('is empty')
  if (!text.isWellFormed()) refuse('is not well-formed Unicode')
  if (new TextEncoder().encode(text).length > documentIdBytesMax)
    refuse(`exceeds ${documentIdBytesMax} bytes`)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) refuse('contains a control character')
  }
  if (/(^|\/)\.{0,2}(\/|$)/.test(text)) refuse('has an empty, "." or ".." segment')
  return text as DocumentId
}
