/**
 * How revocations are stored: as JSON, since they are few, and people may have to read them.
 *
 *   entry     {"kind":"subject","subject":"ann","atMs":1} | {"kind":"document","document":"deals/1","atMs":1}
 *   snapshot  {"format":1,"subjects":[["ann",1],…],"documents":[["deals/1",1],…]}   oldest first
 *
 * A new kind of entry is skipped by a server that does not know it, and said so in its log. A new shape of the
 * snapshot needs a new number; a snapshot of another number is an error, never "nobody is revoked".
 */
import { z } from 'zod'
import type { DocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Revocation } from './access.ts'

const documentSchema = z.string().transform((id) => id as DocumentId)
const atMsSchema = z.number()

const entrySchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('subject'), subject: z.string(), atMs: atMsSchema }),
  z.object({ kind: z.literal('document'), document: documentSchema, atMs: atMsSchema }),
])

const snapshotSchema = z.object({
  format: z.literal(1),
  subjects: z.array(z.tuple([z.string(), atMsSchema])),
  documents: z.array(z.tuple([documentSchema, atMsSchema])),
})

export interface StoredRevocations {
  readonly subjects: readonly (readonly [string, number])[]
  readonly documents: readonly (readonly [DocumentId, number])[]
}

export function encodeRevocation(revocation: Revocation): Uint8Array {
  return encode(revocation)
}

/** Null for an entry that this version does not know. */
export function decodeRevocation(bytes: Uint8Array): Revocation | null {
  const parsed = entrySchema.safeParse(decode(bytes))
  return parsed.success ? parsed.data : null
}

export function encodeSnapshot({ subjects, documents }: StoredRevocations): Uint8Array {
  return encode({ format: 1, subjects, documents })
}

/** Throws `document_unreadable`. */
export function decodeSnapshot(bytes: Uint8Array): StoredRevocations {
  const parsed = snapshotSchema.safeParse(decode(bytes))
  if (parsed.success) return parsed.data
  throw new TidemarkError('document_unreadable', 'The stored revocations cannot be read')
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

function decode(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    // Not JSON is nothing that any schema takes: the callers say what that means.
    return undefined
  }
}
