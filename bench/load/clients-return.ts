/**
 * Everybody was away, edited, and comes back in the same moment, as apps do it: real clients with a Y.Doc each, our own
 * or y-websocket's provider, which open the document, leave, edit, and come back.
 *
 * Converged: every replica has every edit. Then all replicas of a document must read the same text, with each edit in it
 * once, and so must a newcomer, or it is an error. What all clients compute is part of the time: they share one process.
 */
import type { Socket } from 'node:net'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { createClient } from '../../client/index.ts'
import { startCpuMeter } from '../harness/cpu.ts'
import { metricOf } from './metric.ts'
import { openPeer, sleep, until } from './peer.ts'
import type { ClientsReturnSpec, LoadResult } from './spec.ts'
import { syncMessage } from './updates.ts'

const firstText = 'The tide comes in twice a day and leaves its mark upon the shore. '.repeat(16)
const openedDeadlineMs = 60_000
/** For the server to have seen them leave. */
const awayMs = 1_500
const atOnce = 100

interface Replica {
  readonly doc: Y.Doc
  readonly synced: () => boolean
  /** All its edits are durable, as far as it can know. */
  readonly saved: () => boolean
  leave(): void
  comeBack(): void
  end(): void
}

let wires: Socket[] = []

/** Tells which bytes went over the wire: those of every socket since `wires` was emptied. */
class CountedWebSocket extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols)
    this.on('upgrade', (response) => wires.push(response.socket))
  }
}

function ours({ address }: ClientsReturnSpec, document: string): Replica {
  const client = createClient({
    url: `ws://${address.host}:${address.port}`,
    storage: 'memory',
    webSocket: CountedWebSocket,
  })
  const handle = client.open(document)
  return {
    doc: handle.doc,
    synced: () => handle.synced,
    saved: () => handle.pending === 0,
    leave: () => client.pause(),
    comeBack: () => client.resume(),
    end: () => void client.close(),
  }
}

function providers({ address }: ClientsReturnSpec, document: string): Replica {
  const doc = new Y.Doc()
  const provider = new WebsocketProvider(`ws://${address.host}:${address.port}`, document, doc, {
    WebSocketPolyfill: CountedWebSocket as unknown as typeof globalThis.WebSocket,
    disableBc: true,
  })
  return {
    doc,
    synced: () => provider.synced,
    // It cannot know.
    saved: () => true,
    leave: () => provider.disconnect(),
    comeBack: () => provider.connect(),
    end: () => provider.destroy(),
  }
}

export async function clientsReturn(spec: ClientsReturnSpec, prefix: string): Promise<LoadResult> {
  const open = spec.client === 'tidemark' ? ours : providers
  const names = Array.from({ length: spec.documents }, (_, index) => `${prefix}-${index}`)
  const byDocument = names.map((): Replica[] => [])
  const replicas: Replica[] = []
  for (let turn = 0; turn < spec.clientsPerDocument; turn++)
    for (let from = 0; from < names.length; from += atOnce) {
      const some = names.slice(from, from + atOnce).map((name, i): Replica => {
        const replica = open(spec, name)
        byDocument[from + i]!.push(replica)
        return replica
      })
      replicas.push(...some)
      const isOpen = (): boolean => some.every((replica) => replica.synced())
      if (!(await until(isOpen, openedDeadlineMs)))
        return { cases: [], errors: ['the documents were not opened'] }
      if (turn === 0) for (const { doc } of some) doc.getText('text').insert(0, firstText)
    }
  const isWhole = ({ doc, saved }: Replica): boolean =>
    saved() && doc.getText('text').length === firstText.length
  if (!(await until(() => replicas.every(isWhole), openedDeadlineMs)))
    return { cases: [], errors: ['the first version did not reach everybody'] }

  for (const replica of replicas) replica.leave()
  await sleep(awayMs)
  for (const [number, { doc }] of replicas.entries()) {
    const text = doc.getText('text')
    for (let i = 0; i < spec.editsPerClient; i++)
      text.insert((i * 37 + number * 101) % firstText.length, String.fromCharCode(97 + (i % 26)))
  }

  let converged = 0
  let convergedMs = 0
  let fromMs = 0
  for (const group of byDocument) {
    const clocks = new Map(group.map(({ doc }) => [doc.clientID, Y.getState(doc.store, doc.clientID)]))
    for (const { doc } of group) {
      const missing = new Map(clocks)
      missing.delete(doc.clientID)
      doc.on('afterTransaction', () => {
        if (missing.size === 0) return
        for (const [id, clock] of missing) if (Y.getState(doc.store, id) >= clock) missing.delete(id)
        if (missing.size === 0 && ++converged === replicas.length) convergedMs = performance.now() - fromMs
      })
    }
  }
  const appends = (): Promise<number> => metricOf(spec.metricsUrl, 'tidemark_appends_total')
  const appendedBefore = await appends()
  wires = []
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  fromMs = performance.now()
  for (const replica of replicas) replica.comeBack()
  await until(() => converged === replicas.length, spec.deadlineMs)
  const cpu = meter.stop()
  const saved = await until(() => replicas.every((replica) => replica.saved()), spec.deadlineMs)
  const savedMs = performance.now() - fromMs
  const wireBytes = wires.reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0)
  const figures = {
    convergedMs,
    ...(spec.client === 'tidemark' ? { savedMs } : {}),
    serverCpuMs: cpu.serverMs,
    loadCpuMs: cpu.loadMs,
    wireBytes,
    connects: wires.length,
    updatesAppended: (await appends()) - appendedBefore,
    ...cpu.figures,
  }
  const errors: string[] = []
  if (converged < replicas.length)
    errors.push(`${replicas.length - converged} of ${replicas.length} clients did not converge`)
  if (!saved) errors.push('edits are pending after all')
  const length = firstText.length + spec.clientsPerDocument * spec.editsPerClient
  for (const [index, group] of byDocument.entries()) {
    const texts = new Set(group.map(({ doc }) => doc.getText('text').toString()))
    if (index % 10 === 0) texts.add(await readAll(spec, names[index]!))
    if (texts.size !== 1 || [...texts][0]!.length !== length) errors.push(`${names[index]} has another text`)
  }
  for (const replica of replicas) replica.end()
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 20) }
}

async function readAll(spec: ClientsReturnSpec, document: string): Promise<string> {
  const doc = new Y.Doc()
  const peer = openPeer({
    ...spec,
    document,
    onUpdate: (bytes, start, end) =>
      Y.applyUpdate(doc, bytes.subarray(syncMessage(bytes, start)!.start, end)),
    onBroken() {},
  })
  await peer.ready
  peer.socket.end()
  return doc.getText('text').toString()
}
