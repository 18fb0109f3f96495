/** What an app imports: `createClient`, the storages, and the types of what they give. */
export { type ErrorCode, TidemarkError } from '../core/protocol/error-codes.ts'
export { createClient } from './create-client.ts'
export type * from './query-types.ts'
export { createIndexedDbStorage } from './storage/indexeddb.ts'
export { createMemoryStorage } from './storage/memory.ts'
export type * from './storage/storage.ts'
export type * from './types.ts'
