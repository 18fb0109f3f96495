/**
 * The folder of the embedded database: one process at a time has it, and what cannot be trusted is put away, since views
 * can always be built again.
 *
 *   lock           held by the kernel for this process
 *   in-use         the boot of the machine during which the database is open; removed after a clean close
 *   database/      PGlite's
 *   unreadable/    a database that would not open: the last one, for whoever wants to know why
 *
 * PGlite never syncs (its PostgreSQL runs with -F, and its files have no fsync). After kill -9 the kernel still has all that was
 * written, and WAL recovery does the rest. After a power loss anything may be missing, in any order, and nothing would
 * notice: so a database that was open when the machine went down is not opened again. A close syncs the files.
 */
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type DirectoryLock, lockDirectory } from '../../log/lmdb/directory-lock.ts'

export interface EmbeddedFolder {
  /** PGlite's own folder. */
  readonly database: string
  /** Why the database that was there is not used; null when it is, or when there was none. */
  readonly discarded: string | null
  /** The database would not open. */
  putAway(): Promise<void>
  /** `clean`: the database was closed, and its files are whole. */
  close(clean: boolean): Promise<void>
}

const bootFile = '/proc/sys/kernel/random/boot_id'

/** Throws when another process has it. */
export async function openFolder(folder: string): Promise<EmbeddedFolder> {
  await mkdir(folder, { recursive: true })
  const lock: DirectoryLock = await lockDirectory(folder)
  try {
    const database = join(folder, 'database')
    const marker = join(folder, 'in-use')
    const boot = await bootOfMachine()
    // Not there: it was closed, or is new.
    const usedIn = await readFile(marker, 'utf8').catch(() => null)
    let discarded: string | null = null
    if (usedIn !== null && usedIn !== boot) {
      discarded = 'the machine went down while it was open'
      await rm(database, { recursive: true, force: true })
    }
    await writeSynced(marker, boot)
    return {
      database,
      discarded,
      async putAway() {
        const unreadable = join(folder, 'unreadable')
        await rm(unreadable, { recursive: true, force: true })
        if (existsSync(database)) await rename(database, unreadable)
      },
      async close(clean) {
        try {
          if (!clean) return
          await syncFiles(database)
          await rm(marker, { force: true })
        } finally {
          await lock.release()
        }
      },
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** Where a boot cannot be told from the next one, every database that was not closed counts as one of another boot. */
async function bootOfMachine(): Promise<string> {
  return (await readFile(bootFile, 'utf8').catch(() => `unknown ${process.pid} ${Date.now()}`)).trim()
}

async function writeSynced(path: string, text: string): Promise<void> {
  await writeFile(path, text)
  await syncPath(path)
}

async function syncFiles(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile() || entry.isDirectory()) await syncPath(join(entry.parentPath, entry.name))
  await syncPath(folder)
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
