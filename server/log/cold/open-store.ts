import { createFileStore } from './file-store.ts'
import { createS3Store } from './s3-store.ts'
import type { SnapshotStore } from './snapshot-store.ts'
import { parseStoreAddress } from './store-address.ts'

/** The store that SNAPSHOT_STORE names, not yet started. */
export function openStore(text: string): SnapshotStore {
  const address = parseStoreAddress(text)
  if (address === null) throw new Error('SNAPSHOT_STORE is not the address of a store')
  return address.kind === 'file' ? createFileStore(address.folder) : createS3Store(address)
}
