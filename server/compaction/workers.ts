/**
 * A pool of worker threads for what builds documents: the only way from the server to `worker.ts`. Threads start
 * when there is work and end when there is none for a while; each has its own heap and as much memory for WebAssembly, so a document
 * that is too large for it fails alone.
 */
import { MessageChannel } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { EngineName, IndexedState } from '../../core/engine/engine.ts'
import { withDeadline } from '../deadline.ts'
import { pack } from './packed.ts'
import type { DigestTask, LastWord, Task } from './worker.ts'

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
/** As Node says it of a thread whose heap is full. */
const outOfMemory = { code: 'ERR_WORKER_OUT_OF_MEMORY' }

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

  get threadIds(): number[] {
    return this.pool.threads.map(({ threadId }) => threadId)
  }

  /** State of all updates, as `Engine.compact`. */
  compact(engine: EngineName, updates: readonly Uint8Array[], signal: AbortSignal): Promise<IndexedState> {
    const task: Task = { engine, updates: pack(updates) }
    return withDeadline(this.timeoutMs, signal, (ending) => this.run('compact', task, ending))
  }

  /** The document as JSON, in UTF-8. */
  json(engine: EngineName, updates: readonly Uint8Array[], signal: AbortSignal): Promise<Uint8Array> {
    const task: Task = { engine, updates: pack(updates) }
    return withDeadline(this.timeoutMs, signal, (ending) => this.run('json', task, ending))
  }

  /** For culprit.ts, which has a clock of its own. */
  digest(task: DigestTask, signal: AbortSignal): Promise<void> {
    return this.run('digest', task, signal)
  }

  private run<T>(name: 'compact' | 'json' | 'digest', task: Task, signal: AbortSignal): Promise<T> {
    const transferList = [task.updates.bytes.buffer]
    if (task.engine === 'yjs') return this.pool.run(task, { name, transferList, signal })
    return this.runOrEnd(name, task, signal)
  }

  /** The thread's memory does not shrink: what answers by the port is ended. */
  private async runOrEnd<T>(name: string, task: Task, signal: AbortSignal): Promise<T> {
    const { port1, port2 } = new MessageChannel()
    const ending = new AbortController()
    const end = (): void => ending.abort(signal.reason)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
    try {
      const word = new Promise<LastWord>((resolve) => port1.once('message', resolve))
      const transferList = [task.updates.bytes.buffer, port2]
      const options = { name, transferList, signal: ending.signal }
      const done: Promise<T> = this.pool.run({ ...task, last: port2 }, options)
      const first = await Promise.race([done.then((value): LastWord => ({ kind: 'value', value })), word])
      if (first.kind === 'value') return first.value as T
      throw Object.assign(new Error(first.message), first.kind === 'memory' && outOfMemory)
    } finally {
      signal.removeEventListener('abort', end)
      // Without effect on a task that is done.
      ending.abort()
      port1.close()
    }
  }

  /** Ends the threads. Node 20 can crash when one is terminated while it loads its modules: let tasks end before. */
  close(): Promise<void> {
    return this.pool.destroy()
  }
}
