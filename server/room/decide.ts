/** The server's own way into a document: what it decides, and nothing else. */
import type { DocumentId } from '../../core/document-id.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import type { Rooms } from './rooms.ts'
import { newSessionId } from './session.ts'
import type { Submitter } from './submits.ts'

/** Resolves when it is durable; at once when it is there already. Rejects as `Room.submit` throws, and as the log does. */
export function decide(rooms: Rooms, document: DocumentId, update: Uint8Array): Promise<void> {
  return rooms.use(
    document,
    (room) =>
      new Promise((resolve, reject) => {
        const server: Submitter = {
          id: newSessionId(),
          author: '',
          roles: [],
          mayWrite: true,
          decides: true,
          taken: () => undefined,
          settled: () => resolve(),
          close: (code: ErrorCode, reason: string) => reject(new TidemarkError(code, reason)),
        }
        if (!room.submit(server, update, false)) resolve()
      }),
  )
}
