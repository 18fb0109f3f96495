/**
 * A folder of our own in which a database can be opened without a trace in the original. Reading a database writes: LevelDB
 * takes a lock, recovers its journal and deletes files that it no longer needs; SQLite leaves a lock behind when it is
 * killed. So a reader gets links to the files that never change in place, copies of the small ones that do.
 *
 * A server that still runs changes the original meanwhile. That is noticed by size and time of its files: what was read
 * may lack what came in between.
 */
import { copyFile, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

export interface PrivateView {
  readonly folder: string
  /** Whether a file that is watched is another one than at first. */
  readonly hasChanged: () => Promise<boolean>
  /** Removes the folder. */
  readonly close: () => Promise<void>
}

export interface Files {
  readonly linked: readonly string[]
  readonly copied: readonly string[]
  /** What nobody may write to meanwhile. */
  readonly watched: () => Promise<readonly string[]>
}

export async function openPrivateView({ linked, copied, watched }: Files): Promise<PrivateView> {
  const before = await stamps(await watched())
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-import-'))
  try {
    for (const file of linked) await link(file, join(folder, basename(file)))
    for (const file of copied) await copyFile(file, join(folder, basename(file)))
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    folder,
    hasChanged: async () => (await stamps(await watched())) !== before,
    close: () => rm(folder, { recursive: true, force: true }),
  }
}

export async function filesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).sort().map((name) => join(folder, name))
}

/** Windows lets only administrators make links. */
async function link(file: string, path: string): Promise<void> {
  try {
    await symlink(file, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
    await copyFile(file, path)
  }
}

async function stamps(files: readonly string[]): Promise<string> {
  const lines = await Promise.all(
    files.map(async (file) => {
      // Gone, or out of reach: that is told as well.
      const found = await stat(file).catch(() => null)
      return found === null ? `${file} is not there` : `${file} ${found.size} ${found.mtimeMs}`
    }),
  )
  return lines.join('\n')
}
