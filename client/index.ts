/** What an app imports: `createClient`, and the types of what it gives. */
import type { Client, ClientOptions } from './types.ts'

export { type ErrorCode, TidemarkError } from '../core/protocol/errors.ts'
export type * from './storage/storage.ts'
export type * from './types.ts'

/** Connects at the first `open`. Throws `invalid_request` for options that cannot work. */
export function createClient(options: ClientOptions): Client {
  throw new Error(`not built yet: ${options.url}`)
}
