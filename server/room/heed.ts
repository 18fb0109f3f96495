/** What a room makes of an entry that is no update of its document: a statement, or an update that is void. */
import { engineOf } from '../../core/engine/engine-of.ts'
import type { ErrorCode } from '../../core/protocol/errors.ts'
import { isOfLineage } from '../log/lineage.ts'
import type { Entry } from '../log/log.ts'
import { type Known, wrongEngine } from './known.ts'

export type Heed =
  /** The room is of no use any more. */
  | { readonly kind: 'fail'; readonly code: ErrorCode; readonly reason: string }
  /** What the log says is to be read anew. */
  | { readonly kind: 'reread' }
  /** It counts for nothing, and its author is told. */
  | { readonly kind: 'void'; readonly code: ErrorCode; readonly reason: string }

/** Null: nothing. */
export function heedOf(entry: Entry, { lineage, engine }: Known): Heed | null {
  switch (entry.kind ?? 'update') {
    case 'removal':
      if (lineage.removed) return null
      return { kind: 'fail', code: 'document_removed', reason: 'The document was deleted' }
    case 'creation':
      if (!lineage.removed) return null
      return { kind: 'fail', code: 'overloaded', reason: 'The document was created anew; reconnect' }
    case 'release':
      return {
        kind: 'fail',
        code: 'overloaded',
        reason: 'Updates that were set aside count again; reconnect',
      }
    case 'quarantine':
    case 'discard':
      // Without what was set aside. Sessions that have it already keep it.
      return { kind: 'reread' }
    case 'update': {
      if (engine === null || !isOfLineage(entry, lineage))
        return { kind: 'void', code: 'document_removed', reason: 'The document was deleted meanwhile' }
      const { code, message } = wrongEngine(engine, engineOf(entry.update))
      return { kind: 'void', code, reason: message }
    }
  }
}
