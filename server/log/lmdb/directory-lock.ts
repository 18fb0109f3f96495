/**
 * One server per data directory. The lock is the kernel's, on an open file: it goes with the
 * process, also with kill -9, so no stale lock file ever has to be removed by hand. A file with a
 * process id in it was rejected: ids are used again, and containers all see process 1.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import extensions from 'fs-native-extensions'

export interface DirectoryLock {
  release(): Promise<void>
}

/** Throws, naming the directory, when another server has it. */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const file: FileHandle = await open(join(directory, 'lock'), 'a')
  let locked = false
  try {
    locked = extensions.tryLock(file.fd)
    if (!locked) throw new Error(`Another server is running on the data directory ${directory}`)
  } finally {
    if (!locked) await file.close()
  }
  return { release: () => file.close() }
}
