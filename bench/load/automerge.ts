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
import { AutomergePeer } from './automerge-peer.ts'
import { sleep, until } from './peer.ts'
import type { AutomergeSpec, LoadCase, LoadResult } from './spec.ts'

const deliveredDeadlineMs = 60_000
const joinDeadlineMs = 120_000
const editsPerChange = 100
const typedPerSecond = 20

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
  if (spec.what === 'join') return join(spec, errors, onBroken)
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

/** The long session becomes durable. */
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
  await sleep(spec.measureMs)
  for (const each of [writer, witness]) each.end()
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
  const chain = typedChain(4_000)
  const latencies = new Latencies()
  const times: number[] = []
  let reached = -1
  const writer = new AutomergePeer({ ...spec, name: 'typist', onBroken })
  const reader = new AutomergePeer({
    ...spec,
    name: 'reader',
    onBroken,
    onSync: (_, { heads, changes }) => {
      const place = changes.length > 0 ? placeOf(chain, heads) : undefined
      for (let at = reached + 1; place !== undefined && at <= place; at++)
        if (times[at] !== undefined) latencies.add(performance.now() - times[at]!)
      reached = Math.max(reached, place ?? -1)
    },
  })
  await Promise.all([writer.joined, reader.joined])
  writer.sync(chain.documentId, chain.heads[0]!, [chain.changes[0]!])
  await sleep(1_000)
  reader.request(chain.documentId)
  await until(() => reached === 0, deliveredDeadlineMs)
  let sent = 1
  const typing = setInterval(() => {
    times[sent] = performance.now()
    writer.sync(chain.documentId, chain.heads[sent]!, [chain.changes[sent]!])
    sent++
  }, 1_000 / typedPerSecond)
  await sleep(spec.warmUpMs)
  latencies.reset()
  resetResidentPeak(spec.serverPid)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  const from = performance.now()
  let bytesReceived = 0
  let joined = 0
  const joiners = Array.from(
    { length: spec.readers },
    (_, i) =>
      new AutomergePeer({
        ...spec,
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
  clearInterval(typing)
  if (!(await until(() => reached === sent - 1, deliveredDeadlineMs))) errors.push('typing was lost')
  for (const each of [...joiners, writer, reader]) each.end()
  const figures = {
    joinMs,
    serverCpuMsPerJoin: cpu.serverMs / spec.readers,
    bytesPerJoin: bytesReceived / spec.readers,
    residentAboveIdleBytes: peakBytes - idleBytes,
    typistP99Ms: latencies.quantile(0.99),
    ...cpu.figures,
  }
  const result: LoadCase = { name: `${spec.readers} at once`, figures }
  return { cases: [result], errors }
}
