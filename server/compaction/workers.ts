/**
 * A pool of worker threads for what builds documents: the only way from the server to `worker.ts`. Threads start
 * when there is work and end when there is none for a while; each has its own heap, so a document that is
 * too large for it fails alone.
 */

import { Piscina } from 'piscina'
import type { EngineName, IndexedState } from '../../core/engine/engine.ts'
import { withDeadline } from '../deadline.ts'
import { pack } from './packed.ts'
import type { CompactTask, DigestTask, JsonTask } from './worker.ts'

export interface WorkersOptions {
  readonly threads: number
  readonly heapMb: number
  /** One task may take this long. */
  readonly timeoutMs: number
}

// Sources run from TypeScript (in tests) use the compiled worker.
const workerUrl = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/server/compaction/worker.js', import.meta.url)
  : new URL('./worker.js', import.meta.url)

const idleMs = 30_000

export class Workers {
  private readonly pool: Piscina
  private readonly timeoutMs: number

  constructor({ threads, heapMb, timeoutMs }: WorkersOptions) {
    this.timeoutMs = timeoutMs
    this.pool = new Piscina({
      filename: workerUrl.href,
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: idleMs,
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    })
    // A worker that dies before it has its task (its file is gone, no memory is left) would end the process, were nobody
    // to listen. The task runs into its timeout, and that is logged.
    this.pool.on('error', () => undefined)
  }

  /** State of all updates, as `Engine.compact`. */
  compact(engine: EngineName, updates: readonly Uint8Array[], signal: AbortSignal): Promise<IndexedState> {
    const task: CompactTask = { engine, updates: pack(updates) }
    const transferList = [task.updates.bytes.buffer]
    return withDeadline(this.timeoutMs, signal, (ending) =>
      this.pool.run(task, { name: 'compact', transferList, signal: ending }),
    )
  }

  /** The document as JSON, in UTF-8. */
  json(engine: EngineName, updates: readonly Uint8Array[], signal: AbortSignal): Promise<Uint8Array> {
    const task: JsonTask = { engine, updates: pack(updates) }
    const transferList = [task.updates.bytes.buffer]
    return withDeadline(this.timeoutMs, signal, (ending) =>
      this.pool.run(task, { name: 'json', transferList, signal: ending }),
    )
  }

  /** For culprit.ts, which has a clock of its own. */
  digest(task: DigestTask, signal: AbortSignal): Promise<void> {
    return this.pool.run(task, { name: 'digest', transferList: [task.updates.bytes.buffer], signal })
  }

  /** Ends the threads. Node 20 can crash when one is terminated while it loads its modules: let tasks end before. */
  close(): Promise<void> {
    return this.pool.destroy()
  }
}
