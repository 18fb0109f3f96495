/**
 * Cold snapshots in a folder: of a local disk, or of a network share that all nodes have mounted.
 *
 *   put   incoming/<nonce> → written, synced → renamed to its key → its folder synced
 *
 * The rename makes an object appear whole or not at all, and the syncs keep it; a crash leaves a file in
 * `incoming`, removed at a later start. Rejected: one flat folder (a million names in it are slow on many
 * file systems), the temporary file beside its target (a crash would leave it where it looks like an object).
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type SnapshotStore, type StoredObject, StoreError, type StoreFailure } from './snapshot-store.ts'

/** Read in steps, so that a signal is heard. */
const stepBytes = 4 * 1024 * 1024
const incomingMsMax = 24 * 3_600_000

export function createFileStore(folder: string): SnapshotStore {
  return new FileStore(resolve(folder))
}

class FileStore implements SnapshotStore {
  readonly name: string
  private readonly folder: string
  private readonly incoming: string

  constructor(folder: string) {
    this.folder = folder
    this.incoming = join(folder, 'incoming')
    this.name = `file:${folder}`
  }

  async start(): Promise<void> {
    await mkdir(this.incoming, { recursive: true })
    for (const name of await readdir(this.incoming)) {
      const path = join(this.incoming, name)
      const made = await stat(path).catch(() => null) // Another node removed it first.
      if (made !== null && Date.now() - made.mtimeMs > incomingMsMax) await rm(path, { force: true })
    }
  }

  async close(): Promise<void> {}

  put(key: string, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.guarded(async () => {
      const temporary = join(this.incoming, randomBytes(12).toString('hex'))
      const target = this.path(key)
      await mkdirSynced(dirname(target))
      try {
        const file = await open(temporary, 'wx')
        try {
          for (let at = 0; at < bytes.length; at += stepBytes) {
            signal.throwIfAborted()
            await writeAll(file, bytes.subarray(at, at + stepBytes))
          }
          await file.sync()
        } finally {
          await file.close()
        }
        signal.throwIfAborted()
        await rename(temporary, target)
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {
          // The next start removes it; the first error says more.
        })
        throw error
      }
      await syncFolder(dirname(target))
    }, 'unavailable')
  }

  get(key: string, bytesMax: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.guarded(async () => {
      const file = await open(this.path(key), 'r')
      try {
        const bytes = Buffer.allocUnsafeSlow(Math.min((await file.stat()).size, bytesMax))
        let length = 0
        while (length < bytes.length) {
          signal.throwIfAborted()
          const { bytesRead } = await file.read(
            bytes,
            length,
            Math.min(stepBytes, bytes.length - length),
            length,
          )
          if (bytesRead === 0) break
          length += bytesRead
        }
        return bytes.subarray(0, length)
      } finally {
        await file.close()
      }
    })
  }

  delete(key: string): Promise<void> {
    return this.guarded(() => rm(this.path(key), { force: true }))
  }

  list(
    prefix: string,
    after: string,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly StoredObject[]> {
    return this.guarded(async () => {
      const found: StoredObject[] = []
      await this.walk('', prefix, after, countMax, found, signal)
      return found
    })
  }

  /** Folders sort as their name with its `/`, which gives the order of whole keys. */
  private async walk(
    folder: string,
    prefix: string,
    after: string,
    countMax: number,
    found: StoredObject[],
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted()
    const entries = await readdir(join(this.folder, folder), { withFileTypes: true }).catch(ifMissing([]))
    const keys = entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort()
    for (const key of keys) {
      if (found.length >= countMax) return
      if (key.endsWith('/')) {
        const mayHold = key.startsWith(prefix) || prefix.startsWith(key)
        if (mayHold && (key > after || after.startsWith(key)))
          await this.walk(key, prefix, after, countMax, found, signal)
      } else if (key.startsWith(prefix) && key > after) {
        const file = await stat(join(this.folder, key)).catch(ifMissing(null))
        if (file !== null) found.push({ key, modifiedMs: file.mtimeMs })
      }
    }
  }

  private path(key: string): string {
    // Keys come from pointers in the log as well: nothing may lead out of the folder.
    if (!/^[a-z]+(\/[0-9a-z-]+)+$/.test(key)) throw new StoreError('missing', 'not a key of a snapshot store')
    return join(this.folder, key)
  }

  private async guarded<T>(work: () => Promise<T>, whenAbsent: StoreFailure = 'missing'): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof StoreError) throw error
      // The code of a DOMException, as of a deadline that passed, is a number that says nothing.
      const { code: given, name } = error as NodeJS.ErrnoException
      const code = typeof given === 'string' ? given : name
      const failure = code === 'ENOENT' ? whenAbsent : 'unavailable'
      throw new StoreError(failure, `the folder of cold snapshots: ${code}`, { cause: error })
    }
  }
}

const ifMissing =
  <T>(instead: T) =>
  (error: NodeJS.ErrnoException): T => {
    if (error.code === 'ENOENT') return instead
    throw error
  }

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten
}

/** A new folder is durable once the one above it is synced. */
async function mkdirSynced(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true })
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
