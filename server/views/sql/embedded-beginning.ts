/** What an embedded database begins as: a copy of one that the build made (scripts/build-database.mjs), since making one takes long. */
import { existsSync } from 'node:fs'
import { readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'

/**
 * Whatever becomes of the process, `database` is whole or is not there: the copy is made beside it. Does nothing where there is a
 * database, or no `initial` one; rejects when that cannot be opened, as one of another version, or when something else is in the way.
 */
export async function beginDatabase(database: string, initial: string): Promise<void> {
  if (existsSync(join(database, 'PG_VERSION')) || !existsSync(initial)) return
  const beside = `${database}.beginning`
  await rm(beside, { recursive: true, force: true })
  const copy = await PGlite.create({ dataDir: beside, loadDataDir: new Blob([await readFile(initial)]) })
  await copy.close()
  await rename(beside, database)
}
