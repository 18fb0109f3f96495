/** Queries as the relay's thread has them: asked of the thread of the views, whichever it is now. */
import type { Worker } from 'node:worker_threads'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Ask, QueryFromRelay, QueryFromViews } from './messages.ts'

interface Asked {
  readonly done: (body: Uint8Array) => void
  readonly refuse: (error: unknown) => void
}

const askedMax = 1_000

export class RemoteQueries {
  private worker: Worker | null = null
  private readonly asked = new Map<number, Asked>()
  private last = 0

  /** Null: the thread ended. What it was asked is refused. */
  attach(worker: Worker | null): void {
    this.worker = worker
    const error = new TidemarkError('views_unavailable', 'The views ended, and are started anew')
    for (const { refuse } of [...this.asked.values()]) refuse(error)
  }

  /** The answer as JSON. Rejects as `Queries.run` and `AfterWaits.reached`, and with `shutting_down`. */
  async ask(ask: Ask, signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted()
    const { worker, asked } = this
    if (worker === null)
      throw new TidemarkError(
        'views_unavailable',
        'There are no adapters in the folder ADAPTERS, or their thread is starting',
      )
    if (asked.size >= askedMax) throw new TidemarkError('overloaded', 'Too many queries at the same time')
    const id = ++this.last
    const leave = (): void => say(worker, { kind: 'query-leave', id })
    try {
      return await new Promise<Uint8Array>((resolve, reject) => {
        asked.set(id, { done: resolve, refuse: reject })
        signal.addEventListener('abort', leave, { once: true })
        say(worker, { kind: 'query-ask', id, ask })
      })
    } finally {
      asked.delete(id)
      signal.removeEventListener('abort', leave)
    }
  }

  heard(message: QueryFromViews): void {
    const asked = this.asked.get(message.id)
    if (message.kind === 'query-answer') asked?.done(message.body)
    else asked?.refuse(new TidemarkError(message.code, message.message))
  }
}

const say = (worker: Worker, message: QueryFromRelay): void => worker.postMessage(message)
