/** What a path is, told by what is there: magic numbers of files, the files of a folder. */
import { open, readdir, stat } from 'node:fs/promises'
import { engineOf } from '../../core/engine/engine-of.ts'
import { exportListName } from '../export-list.ts'
import { isAutomergeRepo, openAutomergeRepo } from './automerge-repo.ts'
import { openFile, openFolder } from './files.ts'
import { openHocuspocusSqlite } from './hocuspocus-sqlite.ts'
import { type Source, SourceError, type SourceKind } from './source.ts'
import { openYLevelDb } from './y-leveldb.ts'

const sqliteMagic = 'SQLite format 3\0'

/** Throws `SourceError`. `kind`: not to be told by what is there. */
export async function openSource(path: string, kind: SourceKind | null): Promise<Source> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new SourceError(`${path} cannot be read: ${error.code ?? error.message}`)
  })
  const told = kind ?? (found.isDirectory() ? await kindOfFolder(path) : await kindOfFile(path))
  if (found.isDirectory() !== (told === 'folder' || told === 'y-leveldb' || told === 'automerge-repo'))
    throw new SourceError(`${path} is ${found.isDirectory() ? 'a folder' : 'a file'}, which ${told} is not`)
  switch (told) {
    case 'folder':
      return openFolder(path)
    case 'y-leveldb':
      return openYLevelDb(path)
    case 'automerge-repo':
      return openAutomergeRepo(path)
    case 'hocuspocus-sqlite':
      return openHocuspocusSqlite(path)
    case 'yjs':
    case 'yjs-v2':
    case 'automerge':
      return openFile(path, told, kind)
  }
}

async function kindOfFolder(path: string): Promise<SourceKind> {
  const names = await readdir(path)
  if (names.includes(exportListName)) return 'folder'
  if (names.includes('CURRENT') && names.some((name) => name.startsWith('MANIFEST-'))) return 'y-leveldb'
  return (await isAutomergeRepo(path)) ? 'automerge-repo' : 'folder'
}

async function kindOfFile(path: string): Promise<SourceKind> {
  const file = await open(path)
  try {
    const bytes = new Uint8Array(sqliteMagic.length)
    await file.read(bytes, 0, bytes.length, 0)
    if (new TextDecoder('latin1').decode(bytes) === sqliteMagic) return 'hocuspocus-sqlite'
    return engineOf(bytes) !== 'yjs' ? 'automerge' : 'yjs'
  } finally {
    await file.close()
  }
}
