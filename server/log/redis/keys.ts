/**
 * The names of a document's keys. All share the hash tag `{<id>}` and therefore one slot of a
 * cluster; the shard channel `…:feed` lives on that slot's node too.
 *
 * A hash tag ends at the first `}` and is ignored when empty, so `{`, `}` and `%` in an id are
 * percent-encoded. Functions derive the other keys from the log's by replacing the last word.
 */
import type { DocumentId } from '../../../core/document-id.ts'

/** Change together with anything a stored or published byte means; see the golden test. */
export const redisFormat = 1

const escapes: Record<string, string> = { '%': '%25', '{': '%7B', '}': '%7D' }

function tag(document: DocumentId): string {
  return `tidemark:{${document.replace(/[%{}]/g, (character) => escapes[character]!)}}`
}

/** Stream: entry n has the id 0-n and one field, `e`, with the bytes of entry-codec.ts. */
export const logKey = (document: DocumentId): string => `${tag(document)}:log`
/** Hash: offset, bytes, index. */
export const snapshotKey = (document: DocumentId): string => `${tag(document)}:snapshot`
/** Hash: replica → `<last sequence>:<its offset>`. */
export const replicasKey = (document: DocumentId): string => `${tag(document)}:replicas`
/** String with an expiry: the holder's token. */
export const leaseKey = (document: DocumentId): string => `${tag(document)}:lease`
/** Shard channel: the messages of feed-message.ts. */
export const feedChannel = (document: DocumentId): string => `${tag(document)}:feed`
