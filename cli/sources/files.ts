/**
 * Documents as files: one, or a folder of them, as `tidemark export` writes it.
 *
 * What an update is, is told by its bytes: Automerge's begin with four of their own; what is no Yjs update of version 1 is
 * tried as version 2. Hardly any bytes are both: a version 2 update says so with a zero first, which in version 1
 * means nothing but deletes. `--from` decides where somebody knows better.
 *
 * A folder with a list (export-list.ts) has the ids and the hashes from it. In another folder each file is a document of the
 * path's name, without its ending.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { basename, extname, join, relative, resolve, sep } from 'node:path'
import { engineOf } from '../../core/engine/engine-of.ts'
import { fromUpdateV2 } from '../../core/engine/yjs/update-v2.ts'
import { yjsEngine } from '../../core/engine/yjs/yjs-engine.ts'
import { type Exported, ExportList } from '../export-list.ts'
import { type Source, type SourceDocument, SourceError, type SourceKind } from './source.ts'

/** What files of documents are called; others in a folder are passed over. */
const endings = ['.yjs', '.ydoc', '.bin', '.update', '.automerge']

/** `asked`: what somebody says it is; else its bytes tell. */
export function openFile(path: string, told: SourceKind, asked: SourceKind | null): Source {
  const file = resolve(path)
  const document = { name: nameOf(basename(file)), read: async () => [await updateIn(file, asked)] }
  return {
    kind: told,
    count: async () => 1,
    async *documents() {
      yield document
    },
    // Files are whole, each by itself.
    hasChanged: async () => false,
    close: async () => undefined,
  }
}

export async function openFolder(path: string): Promise<Source> {
  const list = (await ExportList.exists(path)) ? (await ExportList.open(path)).values() : null
  const documents = list === null ? await filesIn(path) : listed(path, list)
  return {
    kind: 'folder',
    count: async () => documents.length,
    async *documents() {
      yield* documents
    },
    // Files are whole, each by itself.
    hasChanged: async () => false,
    close: async () => undefined,
  }
}

function listed(path: string, exported: readonly Exported[]): SourceDocument[] {
  return exported
    .filter(({ format }) => format === 'update')
    .map(({ id, file, sha256 }) => ({
      name: id,
      async read() {
        const update = await updateIn(join(path, file), null)
        if (createHash('sha256').update(update).digest('hex') !== sha256)
          throw new SourceError(`${file} is not what was exported`)
        return [update]
      },
    }))
}

async function filesIn(path: string): Promise<SourceDocument[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && endings.includes(extname(entry.name)))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => ({
      name: nameOf(relative(path, file).split(sep).join('/')),
      read: async () => [await updateIn(file, null)],
    }))
}

async function updateIn(file: string, kind: SourceKind | null): Promise<Uint8Array> {
  const bytes = await bytesOf(file)
  if (kind === 'yjs-v2') return fromUpdateV2(bytes)
  if (kind !== null || engineOf(bytes) !== 'yjs') return bytes
  try {
    yjsEngine.validate(bytes, { updateBytesMax: bytes.length })
    return bytes
  } catch (error) {
    // Which of the two it was meant to be, nobody knows: the first is the usual one.
    return convertedOr(bytes, error)
  }
}

function convertedOr(bytes: Uint8Array, otherwise: unknown): Uint8Array {
  try {
    const update = fromUpdateV2(bytes)
    yjsEngine.validate(update, { updateBytesMax: Number.POSITIVE_INFINITY })
    return update
  } catch {
    throw otherwise
  }
}

async function bytesOf(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (error) {
    throw new SourceError(`It cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

const nameOf = (path: string): string => path.slice(0, path.length - extname(path).length)
