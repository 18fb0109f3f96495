/**
 * The thread of the views begins: it loads adapters and says which there are, which the relay waits for before it takes anybody in.
 * All else (databases, the parser of queries) is loaded afterwards.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { clockedFacts } from '../../core/domain/fold/fields.ts'
import { WasmMemory } from '../compaction/wasm-memory.ts'
import { AdapterLoadError, loadAdapters } from './adapters.ts'
import type { FromViews, ThreadData } from './views-messages.ts'
import { yieldToRelay } from './yield-to-relay.ts'

if (parentPort === null) throw new Error('not a thread')
const port = parentPort
const tell = (message: FromViews): void => port.postMessage(message)

async function main(): Promise<void> {
  const { folder, databaseUrl, dataFolder, memoryMb } = (workerData as ThreadData).settings
  const memory = new WasmMemory(memoryMb * 1024 * 1024)
  memory.install()
  const adapters = await loadAdapters(folder)
  const isHomeless = databaseUrl === null && dataFolder === null
  // A checkout has adapters of its own, and several relays on a Redis are to start in it all the same.
  if (isHomeless && adapters.length > 0) {
    const message = 'no views: over REDIS_URL they need DATABASE_URL'
    tell({ kind: 'log', level: 'warn', fields: { folder }, message })
  }
  const facts = adapters.flatMap(({ documents, facts }) =>
    facts === null ? [] : [{ documents, clocked: clockedFacts(facts.fields) }],
  )
  tell({ kind: 'ready', adapters: isHomeless ? [] : adapters.map(({ name }) => name), facts })
  if (adapters.length === 0 || isHomeless) return port.close()
  yieldToRelay()
  // What the relay says meanwhile waits for whoever listens.
  const { work } = await import('./views-work.ts')
  await work(adapters, memory)
}

main().catch((error: unknown) => {
  if (!(error instanceof AdapterLoadError)) throw error
  tell({ kind: 'broken', message: error.message })
  port.close()
})
