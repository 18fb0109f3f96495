/** For the tests of adapters: what a document's updates come to, by the code that the server runs. */
import type { EngineName } from '../engine/engine.ts'
import { engines } from '../engine/engines.ts'
import type { Adapter } from './adapter.ts'
import { AdapterError } from './adapter-error.ts'
import { project } from './project.ts'
import type { Row } from './row.ts'

/** Before `rowsOf` reads documents of Automerge. */
export function loadEngine(engine: EngineName): Promise<void> {
  return engines[engine].load()
}

/**
 * Rows by table. `updates`: for Yjs, `[Y.encodeStateAsUpdate(doc)]` is all it takes; for Automerge `[Automerge.save(doc)]`,
 * once `loadEngine('automerge')` has resolved.
 */
export function rowsOf(
  adapter: Adapter,
  document: string,
  updates: readonly Uint8Array[],
  engine: EngineName = 'yjs',
): Record<string, readonly Row[]> {
  const context = adapter.contextOf(document)
  if (context === null)
    throw new AdapterError(adapter.name, `it takes "${adapter.documents}", which "${document}" is not`)
  const live = engines[engine].open(updates)
  try {
    const replacements = project(adapter, live.state, context)
    return Object.fromEntries(replacements.map(({ table, rows }) => [table, rows]))
  } finally {
    live.close()
  }
}
