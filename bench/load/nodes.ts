/**
 * Documents with one writer and some readers each, whose sessions are on several relays in turn. The same
 * updates leave at the same rate however many relays there are, the documents taking turns. Before that they
 * leave faster, so that each relay has compiled what it runs: with more of them each has less to do.
 *
 * Every frame is read; a gap, or an update that some reader never gets, is an error.
 */
import { startCpuMeter } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { pace } from './fan-out.ts'
import { typingFrameBytesMax, writeTypingFrame } from './frames.ts'
import { joinInTurns, openPeer, type Peer, sleep, until } from './peer.ts'
import type { LoadResult, NodesSpec } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

const clientsFrom = 1_000_000_000
const deliveredDeadlineMs = 15_000
const timesKept = 1024
const warmUpFactor = 5
const settleMs = 500

export async function nodes(spec: NodesSpec, prefix: string): Promise<LoadResult> {
  const { documents, readersPerDocument, addresses } = spec
  const errors: string[] = []
  const latencies = new Latencies()
  const sent = new Uint32Array(documents)
  const times = new Float64Array(documents * timesKept)
  const seen = new Uint32Array(documents * readersPerDocument)
  let measuring = false
  let deliveries = 0
  let now = 0
  let reading = 0

  const visitor = {
    onStructs(client: number, clock: number, length: number) {
      if (clock > seen[reading]!) errors.push(`a reader got clock ${clock} before ${seen[reading]}`)
      const document = client - clientsFrom
      for (; seen[reading]! < clock + length; seen[reading]!++) {
        if (!measuring) continue
        deliveries++
        latencies.add(now - times[document * timesKept + (seen[reading]! % timesKept)]!)
      }
    },
    onDeletes() {},
  }
  // The writer is session 0 of its document.
  const sessionsPerDocument = readersPerDocument + 1
  const peers = await joinInTurns(documents * sessionsPerDocument, (index): Peer => {
    const document = Math.floor(index / sessionsPerDocument)
    const number = index % sessionsPerDocument
    return openPeer({
      address: addresses[(document + number) % addresses.length]!,
      handshake: spec.handshake,
      document: `${prefix}-${document}`,
      onUpdate(bytes, start) {
        if (number === 0) return
        reading = document * readersPerDocument + number - 1
        now = performance.now()
        visitUpdate(bytes, syncMessage(bytes, start)!.start, visitor)
      },
      onBroken: (reason) => errors.push(reason),
    })
  })
  const send = (document: number) => {
    const frame = Buffer.allocUnsafe(typingFrameBytesMax)
    const clock = sent[document]!++
    times[document * timesKept + (clock % timesKept)] = performance.now()
    const end = writeTypingFrame(frame, 0, clientsFrom + document, clock)
    peers[document * sessionsPerDocument]!.socket.write(frame.subarray(0, end))
  }
  const lacking = () =>
    seen.reduce((sum, clock, i) => sum + sent[Math.floor(i / readersPerDocument)]! - clock, 0)
  let next = 0
  const sendNext = (count: number) => {
    for (let left = count; left > 0; left--) send(next++ % documents)
  }
  const stopWarmUp = pace(spec.updatesPerSecond * warmUpFactor, sendNext)
  await sleep(spec.warmUpMs)
  stopWarmUp()
  await until(() => lacking() === 0, deliveredDeadlineMs)
  const stop = pace(spec.updatesPerSecond, sendNext)
  await sleep(settleMs)
  const meter = startCpuMeter(spec.serverPids, spec.logPid)
  measuring = true
  await sleep(spec.measureMs)
  measuring = false
  const cpu = meter.stop()
  stop()
  if (!(await until(() => lacking() === 0, deliveredDeadlineMs)))
    errors.push(`${lacking()} updates never arrived`)
  for (const peer of peers) peer.socket.end()
  const figures = {
    serverCpuMicrosecondsPerDelivery: (cpu.serverMs * 1000) / deliveries,
    logCpuMicrosecondsPerDelivery: (cpu.logMs * 1000) / deliveries,
    deliveriesPerSecond: (deliveries / cpu.wallMs) * 1000,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: [...new Set(errors)].slice(0, 5) }
}
