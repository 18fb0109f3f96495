/**
 * The folder of automerge-repo's NodeFSStorageAdapter. A key's first part is cut after two characters:
 *
 *   3K/Hy8dJ…/snapshot/<hash>, 3K/Hy8dJ…/incremental/<hash>  -> chunks of the document 3KHy8dJ…
 *   st/orage-adapter-id, 3K/Hy8dJ…/sync-state/…              -> not of any document
 *
 * All its chunks make the document; automerge-repo itself passes over those that it cannot read, here they are an error.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Source, type SourceDocument, SourceError } from './source.ts'

const kinds = ['snapshot', 'incremental'] as const

export function openAutomergeRepo(path: string): Source {
  async function* documents(): AsyncGenerator<SourceDocument> {
    for (const head of await foldersIn(path))
      for (const rest of await foldersIn(join(path, head))) {
        const folder = join(path, head, rest)
        const parts = await foldersIn(folder)
        if (kinds.some((kind) => parts.includes(kind)))
          yield { name: `${head}${rest}`, read: () => chunksIn(folder) }
      }
  }
  return {
    kind: 'automerge-repo',
    async count() {
      let documentCount = 0
      for await (const _ of documents()) documentCount++
      return documentCount
    },
    documents,
    // Files are whole, each by itself.
    hasChanged: async () => false,
    close: async () => undefined,
  }
}

/** Whether a folder looks like one: found by its first document. */
export async function isAutomergeRepo(path: string): Promise<boolean> {
  const source = openAutomergeRepo(path)
  for await (const _ of source.documents()) return true
  return false
}

async function chunksIn(folder: string): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = []
  for (const kind of kinds)
    for (const name of await filesIn(join(folder, kind))) {
      const bytes = new Uint8Array(await readFile(join(folder, kind, name)))
      if (bytes.length === 0) throw new SourceError(`${kind}/${name} is empty`)
      chunks.push(bytes)
    }
  return chunks
}

async function foldersIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true })
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

async function filesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
