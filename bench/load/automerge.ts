/**
 * Peers of automerge-repo: many documents with a writer and a reader each, one document with many readers, or a crowd that joins a
 * stored document while somebody types in another one.
 *
 * Closed loop: at most `window` changes of a document are on their way to its slowest reader. Writers send each change in a message
 * of its own, without waiting for answers. A reader is as far as the heads say that came with changes; a reader that never
 * hears of the last change is an error.
 */
import { resetResidentPeak, residentBytes, residentPeakBytes, startCpuMeter } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { type Chain, editedChain, placeOf, typedChain } from './automerge-changes.ts'
import { AutomergePeer, syncData } from './automerge-peer.ts'
import { answerOf, startStandIn } from './automerge-stand-in.ts'
import { Typist } from './automerge-typist.ts'
import { sleep, until } from './peer.ts'
import type { AutomergeSpec, LoadCase, LoadResult } from './spec.ts'

const deliveredDeadlineMs = 60_000
const joinDeadlineMs = 120_000
const editsPerChange = 100

interface Load {
  readonly chain: Chain
  readonly writer: AutomergePeer
  /** How far each reader is. */
  readonly reached: number[]
  readonly times: number[]
  sent: number
}

export async function automerge(spec: AutomergeSpec): Promise<LoadResult> {
  const errors: string[] = []
  const onBroken = (reason: string): void => {
    errors.push(reason)
  }
  if (spec.what === 'join' || spec.what === 'join-control') return join(spec, errors, onBroken)
  if (spec.what === 'fill') return fill(spec, errors, onBroken)
  const latencies = new Latencies()
  let measuring = false
  let deliveries = 0
  let peers = 0
  const peer = (onSync?: ConstructorParameters<typeof AutomergePeer>[0]['onSync']): AutomergePeer =>
    new AutomergePeer({ ...spec, name: `peer-${peers++}`, onBroken, ...(onSync ? { onSync } : {}) })

  const loads: Load[] = []
  for (let i = 0; i < spec.documents; i++)
    loads.push({ chain: typedChain(spec.changes), writer: peer(), reached: [], times: [], sent: 1 })
  await Promise.all(loads.map(({ writer }) => writer.joined))
  for (const { writer, chain } of loads) writer.sync(chain.documentId, chain.heads[0]!, [chain.changes[0]!])
  // Long enough for any server to know of the document.
  await sleep(1_000)
  const pump = (load: Load): void => {
    const slowest = Math.min(...load.reached)
    const { chain, writer } = load
    while (load.sent - 1 - slowest < spec.window && load.sent < chain.changes.length) {
      load.times[load.sent] = performance.now()
      writer.sync(chain.documentId, chain.heads[load.sent]!, [chain.changes[load.sent]!])
      load.sent++
    }
    if (load.sent === chain.changes.length && !exhausted) exhausted = true
  }
  let exhausted = false
  let running = false
  const readers: AutomergePeer[] = []
  for (const load of loads)
    for (let i = 0; i < spec.readers; i++) {
      load.reached.push(-1)
      const reader = peer((_, message) => {
        const place = message.changes.length > 0 ? placeOf(load.chain, message.heads) : undefined
        if (place === undefined || place <= load.reached[i]!) return
        if (measuring) {
          const now = performance.now()
          for (let at = load.reached[i]! + 1; at <= place; at++) latencies.add(now - load.times[at]!)
          deliveries += place - load.reached[i]!
        }
        load.reached[i] = place
        if (running) pump(load)
      })
      readers.push(reader)
      await reader.joined
      reader.request(load.chain.documentId)
    }
  const settled = (): boolean => loads.every(({ reached, sent }) => reached.every((at) => at === sent - 1))
  if (!(await until(settled, deliveredDeadlineMs))) errors.push('not everybody was given the document')
  running = true
  for (const load of loads) pump(load)
  await sleep(spec.warmUpMs)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  measuring = true
  await sleep(spec.measureMs)
  measuring = false
  running = false
  const cpu = meter.stop()
  if (exhausted) errors.push('all changes were sent before the end')
  if (!(await until(settled, deliveredDeadlineMs))) errors.push('changes never reached a reader')
  const figures = {
    deliveriesPerSecond: (deliveries / cpu.wallMs) * 1000,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    serverCpuMicrosecondsPerDelivery: (cpu.serverMs * 1000) / deliveries,
    ...cpu.figures,
  }
  for (const each of [...readers, ...loads.map(({ writer }) => writer)]) each.end()
  return { cases: [{ name: '', figures }], errors }
}

/** The long session becomes durable, and what a server makes of it when it is left alone. */
async function fill(
  spec: AutomergeSpec,
  errors: string[],
  onBroken: (reason: string) => void,
): Promise<LoadResult> {
  const chain = editedChain(editsPerChange)
  let reached = -1
  const writer = new AutomergePeer({ ...spec, name: 'writer', onBroken })
  const witness = new AutomergePeer({
    ...spec,
    name: 'witness',
    onBroken,
    onSync: (_, { heads }) => {
      reached = placeOf(chain, heads) ?? reached
    },
  })
  await Promise.all([writer.joined, witness.joined])
  writer.sync(chain.documentId, chain.heads.at(-1)!, chain.changes)
  await sleep(1_000)
  witness.request(chain.documentId)
  if (!(await until(() => reached === chain.heads.length - 1, joinDeadlineMs))) errors.push('not stored')
  // A document that nobody has open is compacted.
  for (const each of [writer, witness]) each.end()
  await sleep(spec.measureMs)
  const head = Buffer.from(chain.heads.at(-1)!).toString('hex')
  return { cases: [{ name: `${chain.documentId} ${head}`, figures: {} }], errors }
}

async function join(
  spec: AutomergeSpec,
  errors: string[],
  onBroken: (reason: string) => void,
): Promise<LoadResult> {
  const { documentId, head } = spec.stored!
  const idleBytes = residentBytes(spec.serverPid)
  const typist = new Typist(spec, onBroken)
  await typist.typing()
  const standIn =
    spec.what === 'join-control'
      ? await startStandIn(await answerOf(spec, documentId, syncData(null, [])))
      : null
  const asked = { path: spec.path, address: standIn?.address ?? spec.address }
  await sleep(spec.warmUpMs)
  typist.reset()
  resetResidentPeak(spec.serverPid)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  const from = performance.now()
  let bytesReceived = 0
  let joined = 0
  const joiners = Array.from(
    { length: spec.readers },
    (_, i) =>
      new AutomergePeer({
        ...asked,
        name: `joiner-${i}`,
        onBroken,
        onSync: (_id, { heads, changes }, bytes) => {
          bytesReceived += bytes
          const reachedHead = heads.length === 1 && Buffer.from(heads[0]!).toString('hex') === head
          if (changes.length > 0 && reachedHead) joined++
        },
      }),
  )
  for (const each of joiners) void each.joined.then(() => each.request(documentId))
  if (!(await until(() => joined >= spec.readers, joinDeadlineMs)))
    errors.push(`${joined} of ${spec.readers} joined`)
  const joinMs = performance.now() - from
  const cpu = meter.stop()
  const peakBytes = residentPeakBytes(spec.serverPid)
  const typed = await typist.stop()
  for (const each of joiners) each.end()
  await standIn?.stop()
  const figures = {
    joinMs,
    serverCpuMsPerJoin: cpu.serverMs / spec.readers,
    bytesPerJoin: bytesReceived / spec.readers,
    residentAboveIdleBytes: peakBytes - idleBytes,
    typistP99Ms: typed.p99Ms,
    typistMaxMs: typed.maxMs,
    typedCount: typed.count,
    ...cpu.figures,
  }
  const name = `${spec.readers} at once${standIn === null ? '' : ', of a stand-in'}`
  const result: LoadCase = { name, figures }
  return { cases: [result], errors }
}
