/**
 * Where cold snapshots lie: a flat space of immutable objects under keys, on files or S3. Every key is written
 * once and never again, so what was read and verified stays true until it is deleted.
 *
 *   snapshots/<aa>/<bb>/<id hash>-<offset>-<nonce>   a sealed snapshot (sealed.ts)
 *   unused/…the same…                                says since when that snapshot is needed by no document
 *
 * Keys are lower-case letters, digits and `/ - .`, so that every store orders them alike. The hash in front
 * spreads them over folders and, in S3, over partitions.
 */

/** `missing`: surely not there. `unavailable`: nobody knows; ask again. */
export type StoreFailure = 'missing' | 'unavailable'

export class StoreError extends Error {
  readonly failure: StoreFailure
  constructor(failure: StoreFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.failure = failure
  }
}

export interface StoredObject {
  readonly key: string
  /** By the clock of the store. */
  readonly modifiedMs: number
}

/** All methods reject with `StoreError`, `unavailable` when the signal ends them; none waits without end. */
export interface SnapshotStore {
  /** For logs and errors; without credentials. */
  readonly name: string
  /** Rejects only where no later attempt could help, such as a folder that cannot be made. */
  start(): Promise<void>
  close(): Promise<void>
  /** Resolves once the object survives a crash of the store's machine and every node reads it. At least one byte. */
  put(key: string, bytes: Uint8Array, signal: AbortSignal): Promise<void>
  /** The object, or no more than its first `bytesMax` bytes. */
  get(key: string, bytesMax: number, signal: AbortSignal): Promise<Uint8Array>
  /** Deleting what is not there is no error. */
  delete(key: string, signal: AbortSignal): Promise<void>
  /** Keys that begin with `prefix` and come after `after`, in the order of their bytes, at most `countMax`. */
  list(prefix: string, after: string, countMax: number, signal: AbortSignal): Promise<readonly StoredObject[]>
}

export const snapshotsPrefix = 'snapshots/'
export const unusedPrefix = 'unused/'
