/**
 * The database of Hocuspocus's extension-sqlite: a table `documents` with a name and the whole document as one Yjs update.
 *
 * SQLite in WebAssembly reads the file page by page, so that a database of any size is read in little memory; nothing is
 * compiled or downloaded when it is installed. It knows nothing of SQLite's own locks and cannot read a write-ahead log:
 * a database that was not closed well, or that is in use, is refused rather than read in part.
 */
import { stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { openPrivateView } from './private-view.ts'
import { type Source, SourceError } from './source.ts'

const pageMax = 1_000

export async function openHocuspocusSqlite(path: string): Promise<Source> {
  const file = resolve(path)
  for (const suffix of ['-wal', '-journal'])
    if ((await bytesOf(`${file}${suffix}`)) > 0)
      throw new SourceError(
        `${basename(file)}${suffix} is not empty: the database is in use or was not closed. End its server; then ` +
          `\`sqlite3 ${basename(file)} "pragma wal_checkpoint(truncate)"\` puts everything into one file`,
      )
  const view = await openPrivateView({ linked: [file], copied: [], watched: async () => [file] })
  const sqlite = (await import('node-sqlite3-wasm')).default
  const open = () => {
    const database = new sqlite.Database(join(view.folder, basename(file)), {
      readOnly: true,
      fileMustExist: true,
    })
    database.get('select name, data from documents limit 0')
    return database
  }
  let database: ReturnType<typeof open>
  try {
    database = open()
  } catch (error) {
    await view.close()
    throw new SourceError(`SQLite finds no table documents (name, data) in it: ${(error as Error).message}`)
  }
  const asked = (sql: string, values: (string | number)[]) => {
    try {
      return database.all(sql, values)
    } catch (error) {
      throw new SourceError(`SQLite cannot read it: ${(error as Error).message}`, { cause: error })
    }
  }
  return {
    kind: 'hocuspocus-sqlite',
    count: async () => Number(asked('select count(*) as count from documents', [])[0]?.['count']),
    async *documents() {
      for (let after = ''; ; ) {
        const page = asked('select name from documents where name > ? order by name limit ?', [
          after,
          pageMax,
        ])
        for (const row of page) {
          const name = String(row['name'])
          after = name
          yield {
            name,
            read: async () => updatesIn(asked('select data from documents where name = ?', [name])),
          }
        }
        if (page.length < pageMax) return
      }
    },
    async close() {
      database.close()
      await view.close()
    },
  }
}

function updatesIn([row]: readonly Record<string, unknown>[]): Uint8Array[] {
  const data = row?.['data']
  if (data instanceof Uint8Array) return data.length === 0 ? [] : [data]
  if (data === null || data === undefined) return []
  throw new SourceError('Its data is no blob')
}

async function bytesOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}
