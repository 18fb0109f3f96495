/** Queries as their route needs them. */
import type { Ask } from '../../views/query/messages.ts'

export interface QuerySource {
  /** The answer as JSON. Rejects as `RemoteQueries.ask`. */
  ask(ask: Ask, signal: AbortSignal): Promise<Uint8Array>
}
