/**
 * A cursor is a place in a result, not a transaction that stays open: it costs nothing while nobody comes back, and any
 * node can go on. It belongs to one query of one user, by a hash, so that mixing them up is an error and not another
 * result. It is no secret: who made one up could ask with `offset` as well, under the same rights.
 */
import { createHash } from 'node:crypto'
import { TidemarkError } from '../../../core/protocol/errors.ts'

const hashBytes = 12
const placeMax = 2 ** 40

export function cursorOf(place: number, query: readonly string[]): string {
  const bytes = Buffer.alloc(6 + hashBytes)
  bytes.writeUIntBE(place, 0, 6)
  hashOf(query).copy(bytes, 6)
  return bytes.toString('base64url')
}

/** Throws `query_refused` for one that was not given for this query and user. */
export function placeIn(cursor: string, query: readonly string[]): number {
  const bytes = Buffer.from(cursor, 'base64url')
  const place = bytes.length === 6 + hashBytes ? bytes.readUIntBE(0, 6) : -1
  if (place < 0 || place > placeMax || cursor !== cursorOf(place, query))
    throw new TidemarkError('query_refused', 'The cursor belongs to another query, or is damaged')
  return place
}

function hashOf(query: readonly string[]): Buffer {
  return createHash('sha256').update(JSON.stringify(query)).digest().subarray(0, hashBytes)
}
