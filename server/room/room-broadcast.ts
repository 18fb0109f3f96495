/**
 * Messages that are no edits, from one session to all others of its dialect in the room, here and on other nodes: at
 * most once, never stored, and not to whoever has no room for them in their socket.
 *
 *   ephemeral = 02 varString(dialect) varString(payload)
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../core/bytes.ts'
import type { DocumentId } from '../../core/document-id.ts'
import type { Log } from '../log/log.ts'
import type { Dialect } from './dialect.ts'
import type { Session } from './session.ts'

/** 0 and 1 are presence. */
const ephemeralBroadcast = 2

export class RoomBroadcast {
  private readonly document: DocumentId
  private readonly sessions: ReadonlySet<Session>
  private readonly log: Log

  constructor(document: DocumentId, sessions: ReadonlySet<Session>, log: Log) {
    this.document = document
    this.sessions = sessions
    this.log = log
  }

  send(from: Session, payload: string): void {
    const { name } = from.dialect
    this.tell(name, payload, from)
    const writer = new ByteWriter(payload.length + 32)
    this.log.publish(
      this.document,
      writer.uint8(ephemeralBroadcast).varString(name).varString(payload).finish(),
    )
  }

  /** What another node published; false when it is none of these. */
  hear(bytes: Uint8Array): boolean {
    if (bytes[0] !== ephemeralBroadcast) return false
    try {
      const reader = new ByteReader(bytes, 1)
      const name = reader.varString()
      this.tell(name, reader.varString(), null)
    } catch (error) {
      // A node of another version may publish what this one cannot read: it is lost, as it may be.
      if (!(error instanceof MalformedBytes)) throw error
    }
    return true
  }

  private tell(name: string, payload: string, from: Session | null): void {
    const nowMs = Date.now()
    const encoded = new Map<Dialect, Uint8Array>()
    for (const session of this.sessions) {
      const { dialect } = session
      if (session === from || dialect.name !== name || dialect.broadcast === undefined) continue
      if (session.state === 'closed' || session.full) continue
      let bytes = encoded.get(dialect)
      if (bytes === undefined) {
        bytes = dialect.broadcast(payload)
        encoded.set(dialect, bytes)
      }
      session.write(bytes, nowMs)
    }
  }
}
