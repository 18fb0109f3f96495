/** Into a document without a session, through the same door: for a request over HTTP, and for the server's own decisions. */
import type { DocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Appended, IdempotencyKey } from '../log/log.ts'
import type { Rooms } from './rooms.ts'
import { newSessionId } from './session.ts'
import type { Submitter } from './submits.ts'

/** In whose name. `decides`: the server's, which writes decisions and nothing else. */
export type Author = Pick<Submitter, 'author' | 'roles' | 'decides'>

export const theServer: Author = { author: '', roles: [], decides: true }

/** Resolves when it is durable; at once when it is there already. Rejects as `Room.submit` throws, and as the log does. */
export function append(
  rooms: Rooms,
  document: DocumentId,
  update: Uint8Array,
  author: Author,
  key?: IdempotencyKey,
): Promise<Appended> {
  return rooms.use(
    document,
    (room) =>
      new Promise((resolve, reject) => {
        const from: Submitter = {
          ...author,
          id: newSessionId(),
          mayWrite: true,
          taken: () => undefined,
          settled: (_bytes, appended) => resolve(appended),
          close: (code, reason) => reject(new TidemarkError(code, reason)),
        }
        // Known means durable: rooms count nothing else.
        if (!room.submit(from, update, false, key)) resolve({ offset: room.offset, duplicate: true })
      }),
  )
}
