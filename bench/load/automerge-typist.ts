/**
 * Somebody who types in a document, and somebody who reads it, in a thread of their own: what other clients of the load have to do
 * is not counted as the server's doing. (They still share the machine's cores; `join-control` says what that comes to.)
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Latencies } from '../harness/statistics.ts'
import { placeOf, typedChain } from './automerge-changes.ts'
import { type AutomergeEndpoint, AutomergePeer } from './automerge-peer.ts'
import { sleep, until } from './peer.ts'

const typedPerSecond = 100
const typedMax = 4_000
const deadlineMs = 60_000

interface Typed {
  readonly count: number
  readonly p99Ms: number
  readonly maxMs: number
}

type Said =
  | { readonly kind: 'typing' }
  | { readonly kind: 'typed'; readonly typed: Typed }
  | { readonly kind: 'broken'; readonly reason: string }

export class Typist {
  private readonly worker: Worker
  private readonly onBroken: (reason: string) => void
  private heard: (said: Said) => void = () => undefined

  constructor({ address, path }: AutomergeEndpoint, onBroken: (reason: string) => void) {
    this.onBroken = onBroken
    const endpoint: AutomergeEndpoint = { address, path }
    this.worker = new Worker(new URL(import.meta.url), { workerData: endpoint })
    this.worker.on('message', (said: Said) => {
      if (said.kind === 'broken') onBroken(said.reason)
      this.heard(said)
    })
    this.worker.on('error', (error) => {
      onBroken(`the typist failed: ${error.message}`)
      this.heard({ kind: 'broken', reason: error.message })
    })
  }

  /** Resolves when it types. */
  async typing(): Promise<void> {
    await this.said()
  }

  /** What it has typed until now does not count. */
  reset(): void {
    this.worker.postMessage('reset')
  }

  /** Ends it. */
  async stop(): Promise<Typed> {
    const said = this.said()
    this.worker.postMessage('stop')
    const last = await said
    await this.worker.terminate()
    if (last.kind === 'typed') return last.typed
    this.onBroken('the typist said nothing')
    return { count: 0, p99Ms: Number.NaN, maxMs: Number.NaN }
  }

  private said(): Promise<Said> {
    return new Promise((resolve) => {
      this.heard = resolve
    })
  }
}

async function type(endpoint: AutomergeEndpoint, tell: (said: Said) => void): Promise<void> {
  const onBroken = (reason: string): void => tell({ kind: 'broken', reason })
  const chain = typedChain(typedMax)
  const times: number[] = []
  let latencies = new Latencies()
  let count = 0
  let maxMs = 0
  let countedFrom = 0
  let reached = -1
  const writer = new AutomergePeer({ ...endpoint, name: 'typist', onBroken })
  const reader = new AutomergePeer({
    ...endpoint,
    name: 'reader',
    onBroken,
    onSync: (_, { heads, changes }) => {
      const place = changes.length > 0 ? placeOf(chain, heads) : undefined
      const now = performance.now()
      for (let at = reached + 1; place !== undefined && at <= place; at++) {
        if (times[at] === undefined || at < countedFrom) continue
        const ms = now - times[at]!
        latencies.add(ms)
        count++
        maxMs = Math.max(maxMs, ms)
      }
      reached = Math.max(reached, place ?? -1)
    },
  })
  await Promise.all([writer.joined, reader.joined])
  writer.sync(chain.documentId, chain.heads[0]!, [chain.changes[0]!])
  await sleep(1_000)
  reader.request(chain.documentId)
  if (!(await until(() => reached === 0, deadlineMs))) onBroken('the reader was given nothing')
  let sent = 1
  const typing = setInterval(() => {
    if (sent >= chain.changes.length) return
    times[sent] = performance.now()
    writer.sync(chain.documentId, chain.heads[sent]!, [chain.changes[sent]!])
    sent++
  }, 1_000 / typedPerSecond)
  tell({ kind: 'typing' })
  parentPort!.on('message', async (asked: 'reset' | 'stop') => {
    if (asked === 'reset') {
      latencies = new Latencies()
      count = 0
      maxMs = 0
      countedFrom = sent
      return
    }
    clearInterval(typing)
    if (sent >= chain.changes.length) onBroken('all was typed before the end')
    if (!(await until(() => reached === sent - 1, deadlineMs))) onBroken('typing was lost')
    for (const each of [writer, reader]) each.end()
    tell({ kind: 'typed', typed: { count, p99Ms: latencies.quantile(0.99), maxMs } })
  })
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort
  void type(workerData as AutomergeEndpoint, (said) => port.postMessage(said))
}
