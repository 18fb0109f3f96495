/**
 * The names of the keys. Those of one document all share the hash tag `{<id>}` and therefore one slot of a
 * cluster; the shard channel `…:feed` lives on that slot's node too.
 *
 * A hash tag ends at the first `}` and is ignored when empty, so `{`, `}` and `%` in an id are
 * percent-encoded. Functions derive the other keys from the log's by replacing the last word.
 *
 * Two sorted sets stand over all documents. Functions write them without declaring them as keys, as a single
 * server allows. A cluster would have one pair for each slot, `tidemark:{<a tag of the slot>}:changes`, a
 * request would name documents of one slot only, and `list` and `changes` would merge the pairs.
 *
 *   1  log, snapshot, replicas, lease, feed
 *   2  documents and changes; in the snapshot `metadata`, empty when absent. What a node of format 1 appends
 *      enters the two sets with the next append of a node of format 2, so do not run both for long.
 */
import type { DocumentId } from '../../../core/document-id.ts'

/** Change together with anything a stored or published byte means; see the golden test. */
export const redisFormat = 2

const escapes: Record<string, string> = { '%': '%25', '{': '%7B', '}': '%7D' }

function tag(document: DocumentId): string {
  return `tidemark:{${document.replace(/[%{}]/g, (character) => escapes[character]!)}}`
}

/** Stream: entry n has the id 0-n and one field, `e`, with the bytes of entry-codec.ts. */
export const logKey = (document: DocumentId): string => `${tag(document)}:log`
/** Hash: offset, bytes, index, metadata. */
export const snapshotKey = (document: DocumentId): string => `${tag(document)}:snapshot`
/** Hash: replica → `<last sequence>:<its offset>`. */
export const replicasKey = (document: DocumentId): string => `${tag(document)}:replicas`
/** String with an expiry: the holder's token. */
export const leaseKey = (document: DocumentId): string => `${tag(document)}:lease`
/** Shard channel: the messages of feed-message.ts. */
export const feedChannel = (document: DocumentId): string => `${tag(document)}:feed`

/** Sorted set: the ids of all documents that have entries, each with the score 0 and so in the order of their bytes. */
export const documentsKey = 'tidemark:documents'
/** Sorted set: the same ids, each with the sequence of the call that appended to it last. */
export const changesKey = 'tidemark:changes'
