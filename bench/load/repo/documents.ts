/**
 * Documents with one writer and some readers each, as peers of automerge-repo: the loads of ../fan-out.ts and ../documents.ts, and the same
 * figures. A change types one character. All documents get the same changes, which are made before anything is measured, and each window
 * has documents of its own, so that they suffice.
 *
 * Closed loop: at most `window` changes of a document are on their way to its slowest reader; with a rate, documents take turns. A
 * reader is as far as the heads say that came with changes; one that never hears of the last change is an error.
 *
 * automerge-repo's server answers in waves that can last seconds. So a closed loop is measured from the moment at which every document has
 * its first window through, and for some windows of every document, however long they take. With a rate, what is measured ends when
 * all has arrived: a server that falls behind stands with what it managed. A latency is one of a change that was sent in the
 * measured time, even when it arrives after it: else such a server would seem fast.
 */
import { startCpuMeter } from '../../harness/cpu.ts'
import { Latencies } from '../../harness/statistics.ts'
import { type Chain, placeOf, typedChain } from '../automerge-changes.ts'
import { pace } from '../fan-out.ts'
import { sleep, until } from '../peer.ts'
import type { DocumentsSpec, FanOutSpec, LoadCase, LoadResult } from '../spec.ts'
import { documentIdOf, joinPeers, RepoPeer } from './peer.ts'

/** For any server to know of a document before others ask for it. */
const knownMs = 1_000
/** A server that falls behind has to catch up with seconds of load. */
const deliveredDeadlineMs = 60_000
/** Measured of every document at least, in `measuredMsMax` at most. */
const windowsMeasured = 2
const measuredMsMax = 10_000
const changesOfOne = 50_000
const changesOfMany = 4_000

interface Load {
  readonly documentId: string
  readonly writer: RepoPeer
  /** How far each reader is. */
  readonly reached: number[]
  readonly times: number[]
  sent: number
}

interface Shape {
  readonly documents: number
  readonly readers: number
}

export async function repoDocuments(spec: FanOutSpec | DocumentsSpec, prefix: string): Promise<LoadResult> {
  const shape =
    spec.kind === 'fan-out'
      ? { documents: 1, readers: spec.readers }
      : { documents: spec.documents, readers: 1 }
  const chain = typedChain(shape.documents === 1 ? changesOfOne : changesOfMany)
  const errors: string[] = []
  const cases: LoadCase[] = []
  if (spec.updatesPerSecond !== undefined)
    cases.push(await measure(spec, shape, prefix, 1, chain, '', errors))
  else
    for (const window of spec.windows)
      cases.push(await measure(spec, shape, `${prefix}-${window}`, window, chain, `window ${window}`, errors))
  return { cases, errors: [...new Set(errors)].slice(0, 20) }
}

async function measure(
  spec: FanOutSpec | DocumentsSpec,
  shape: Shape,
  prefix: string,
  window: number,
  chain: Chain,
  name: string,
  errors: string[],
): Promise<LoadCase> {
  const latencies = new Latencies()
  let state: 'opening' | 'windowed' | 'ended' = 'opening'
  let measuredFrom = Number.POSITIVE_INFINITY
  let measuredTo = Number.POSITIVE_INFINITY
  let deliveries = 0
  const onBroken = (reason: string): void => {
    if (state !== 'ended') errors.push(reason)
  }
  const send = (load: Load): void => {
    const { documentId, writer } = load
    if (load.sent === chain.changes.length) {
      errors.push('all changes were sent before the end')
      return
    }
    load.times[load.sent] = performance.now()
    writer.sync(documentId, [chain.heads[load.sent]!], [chain.changes[load.sent]!])
    load.sent++
  }
  const pump = (load: Load): void => {
    const reached = slowestOf(load)
    while (load.sent - 1 - reached < window && load.sent < chain.changes.length) send(load)
  }

  const writers = await joinPeers(
    shape.documents,
    (index) => new RepoPeer({ ...spec, name: `writer-${prefix}-${index}`, onBroken }),
  )
  const loads = writers.map((writer, index): Load => {
    const documentId = documentIdOf(`${prefix}-${index}`)
    writer.sync(documentId, [chain.heads[0]!], [chain.changes[0]!])
    return { documentId, writer, reached: [], times: [], sent: 1 }
  })
  await sleep(knownMs)
  const readers = await joinPeers(shape.documents * shape.readers, (index) => {
    const load = loads[index % shape.documents]!
    const number = load.reached.push(-1) - 1
    const reader = new RepoPeer({
      ...spec,
      name: `reader-${prefix}-${index}`,
      onBroken,
      onSync(_, message) {
        const place = message.changes.length > 0 ? placeOf(chain, message.heads) : undefined
        const before = load.reached[number]!
        if (place === undefined || place <= before) return
        const now = performance.now()
        if (now >= measuredFrom && now < measuredTo) deliveries += place - before
        for (let at = before + 1; at <= place; at++) {
          const sent = load.times[at]!
          if (sent >= measuredFrom && sent < measuredTo) latencies.add(now - sent)
        }
        load.reached[number] = place
        if (state === 'windowed') pump(load)
      },
    })
    reader.whenJoined(() => reader.request(load.documentId))
    return reader
  })
  const settled = (): boolean => loads.every(({ reached, sent }) => reached.every((at) => at === sent - 1))
  if (!(await until(settled, deliveredDeadlineMs))) errors.push('not everybody was given the document')

  const windowsLater = async (windows: number, leastMs: number, mostMs: number): Promise<void> => {
    const goals = loads.map((load) => slowestOf(load) + windows * window)
    const isThere = (): boolean => loads.every((load, i) => slowestOf(load) >= goals[i]!)
    await Promise.all([until(isThere, mostMs), sleep(leastMs)])
  }
  state = 'windowed'
  for (const load of loads) pump(load)
  await windowsLater(1, spec.warmUpMs, deliveredDeadlineMs)
  let stop = (): void => undefined
  if (spec.updatesPerSecond !== undefined) {
    state = 'opening'
    await until(settled, deliveredDeadlineMs)
    let next = 0
    stop = pace(spec.updatesPerSecond, (count) => {
      for (let i = 0; i < count; i++) send(loads[next++ % loads.length]!)
    })
    await sleep(spec.warmUpMs / 2)
  }
  const sentBefore = sum(loads)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  measuredFrom = performance.now()
  if (spec.updatesPerSecond !== undefined) {
    await sleep(spec.measureMs)
    stop()
    await until(settled, deliveredDeadlineMs)
  } else await windowsLater(windowsMeasured, spec.measureMs, measuredMsMax)
  measuredTo = performance.now()
  const cpu = meter.stop()
  const sent = sum(loads) - sentBefore
  state = 'opening'
  if (!(await until(settled, deliveredDeadlineMs)))
    errors.push(`changes were still on their way ${deliveredDeadlineMs / 1000} s later`)
  state = 'ended'
  for (const peer of [...readers, ...writers]) peer.end()
  const perDelivery = (cpu.serverMs * 1000) / deliveries
  return {
    name,
    figures: {
      deliveriesPerSecond: (deliveries / cpu.wallMs) * 1000,
      updatesPerSecond: ((spec.kind === 'documents' ? deliveries : sent) / cpu.wallMs) * 1000,
      p50Ms: latencies.quantile(0.5),
      p99Ms: latencies.quantile(0.99),
      serverCpuMicrosecondsPerDelivery: perDelivery,
      ...(spec.kind === 'documents' ? { serverCpuMicrosecondsPerUpdate: perDelivery } : {}),
      ...cpu.figures,
    },
  }
}

const slowestOf = ({ reached }: Load): number => Math.min(...reached)
const sum = (loads: readonly Load[]): number => loads.reduce((total, { sent }) => total + sent, 0)
