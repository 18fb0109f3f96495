/**
 * The database of Hocuspocus's extension-sqlite: a table `documents` with a name and the whole document as one Yjs update.
 *
 * SQLite in WebAssembly reads the file page by page, so that a database of any size is read in little memory; nothing is
 * compiled or downloaded when it is installed. What a server that was killed, or still runs, has left in a write-ahead log
 * or a rollback journal belongs to the database: then all of it is copied, and SQLite puts the copy in order. It has no
 * shared memory for a write-ahead log, and needs none for a database of its own: hence `locking_mode = exclusive`.
 */
import { stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { openPrivateView } from './private-view.ts'
import { type Source, SourceError } from './source.ts'

const pageMax = 1_000

export async function openHocuspocusSqlite(path: string): Promise<Source> {
  const file = resolve(path)
  const beside = [`${file}-wal`, `${file}-journal`]
  const bytesBeside = await Promise.all(beside.map(bytesOf))
  const isWhole = bytesBeside.every((bytes) => bytes === 0)
  const view = await openPrivateView({
    linked: isWhole ? [file] : [],
    copied: isWhole ? [] : [file, ...beside.filter((_, i) => bytesBeside[i]! > 0)],
    watched: async () => [file, ...beside],
  })
  const sqlite = (await import('node-sqlite3-wasm')).default
  const open = () => {
    const database = new sqlite.Database(join(view.folder, basename(file)), {
      readOnly: isWhole,
      fileMustExist: true,
    })
    database.get('pragma locking_mode = exclusive')
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
  const asked = (sql: string, values: (string | number | null)[]) => {
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
      for (let after: string | null = null; ; ) {
        const page = asked('select name from documents where ? is null or name > ? order by name limit ?', [
          after,
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
    hasChanged: view.hasChanged,
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
