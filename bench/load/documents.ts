/**
 * Many documents, each with one writer and one reader: no update can be joined with another document's,
 * so this measures the cost of an update, not of a copy of it.
 *
 * Closed loop for each document: its writer has at most `window` updates on their way. Every frame is
 * parsed; a gap, or an update that never comes, is an error. With a rate, the documents take turns.
 */
import { startCpuMeter } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { pace } from './fan-out.ts'
import { typingFrameBytesMax, writeTypingFrame } from './frames.ts'
import { joinInTurns, openPeer, type Peer, sleep, until, type WritingPeer } from './peer.ts'
import type { DocumentsSpec, LoadCase, LoadResult } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

const clientsFrom = 1_000_000_000
const deliveredDeadlineMs = 30_000
/** More than may be on their way in one document; a power of two. */
const timesKept = 4096

interface DocumentLoad {
  writer: WritingPeer | null
  sent: number
  delivered: number
  /** When each of the last updates left, by clock. */
  readonly times: Float64Array
  readonly client: number
  waiting: boolean
}

export async function documents(spec: DocumentsSpec, prefix: string): Promise<LoadResult> {
  const errors: string[] = []
  const latencies = new Latencies()
  const loads: DocumentLoad[] = []
  let measuring = false
  let deliveries = 0
  let window = 0
  let waiting: DocumentLoad[] = []
  let scheduled = false

  const onBroken = (reason: string) => {
    errors.push(reason)
  }
  const name = (index: number) => `${prefix}-${index}`

  const send = (load: DocumentLoad, count: number) => {
    const { address, writeAddressed } = load.writer!
    const bytes = Buffer.allocUnsafe(count * (typingFrameBytesMax + address.length))
    const now = performance.now()
    let length = 0
    for (let i = 0; i < count; i++) {
      load.times[load.sent % timesKept] = now
      length = writeTypingFrame(bytes, length, load.client, load.sent++, address)
    }
    writeAddressed(bytes.subarray(0, length))
  }
  const pump = () => {
    scheduled = false
    const now = waiting
    waiting = []
    for (const load of now) {
      load.waiting = false
      const room = window - (load.sent - load.delivered)
      if (room > 0) send(load, room)
    }
  }
  const wake = (load: DocumentLoad) => {
    if (load.waiting || window === 0) return
    load.waiting = true
    waiting.push(load)
    if (!scheduled) setImmediate(pump)
    scheduled = true
  }

  const openReader = (index: number): Peer => {
    const load: DocumentLoad = {
      writer: null,
      sent: 0,
      delivered: 0,
      times: new Float64Array(timesKept),
      client: clientsFrom + index,
      waiting: false,
    }
    loads.push(load)
    const visitor = {
      onStructs(_client: number, clock: number, length: number) {
        if (clock > load.delivered)
          errors.push(`document ${index} got clock ${clock} before ${load.delivered}`)
        const end = clock + length
        if (end <= load.delivered) return
        if (measuring) {
          const now = performance.now()
          for (let i = load.delivered; i < end; i++) latencies.add(now - load.times[i % timesKept]!)
          deliveries += end - load.delivered
        }
        load.delivered = end
      },
      onDeletes() {},
    }
    return openPeer({
      ...spec,
      document: name(index),
      onUpdate(bytes, start) {
        visitUpdate(bytes, syncMessage(bytes, start)!.start, visitor)
        wake(load)
      },
      onBroken,
    })
  }

  const readers = await joinInTurns(spec.documents, openReader)
  const writers = await joinInTurns(spec.documents, (index) =>
    openPeer({ ...spec, document: name(index), onUpdate() {}, onBroken }),
  )
  for (const [index, writer] of writers.entries()) loads[index]!.writer = writer

  const measure = async (label: string): Promise<LoadCase> => {
    await sleep(spec.warmUpMs)
    latencies.reset()
    deliveries = 0
    const meter = startCpuMeter(spec.serverPid, spec.logPid)
    measuring = true
    await sleep(spec.measureMs)
    measuring = false
    const cpu = meter.stop()
    return {
      name: label,
      figures: {
        updatesPerSecond: (deliveries / cpu.wallMs) * 1000,
        p50Ms: latencies.quantile(0.5),
        p99Ms: latencies.quantile(0.99),
        serverCpuMicrosecondsPerUpdate: (cpu.serverMs * 1000) / deliveries,
        ...cpu.figures,
      },
    }
  }
  const settle = async () => {
    const missing = () => loads.filter((load) => load.delivered < load.sent)
    if (!(await until(() => missing().length === 0, deliveredDeadlineMs)))
      errors.push(`updates of ${missing().length} documents never reached their reader`)
  }

  /** Keeps at most `size` updates of each document undelivered while `during` runs. */
  const windowed = async <T>(size: number, during: () => Promise<T>): Promise<T> => {
    window = size
    for (const load of loads) wake(load)
    const result = await during()
    window = 0
    await settle()
    return result
  }

  const cases: LoadCase[] = []
  if (spec.updatesPerSecond !== undefined) {
    // A server that has run for a while is compiled; at a few updates a second that alone would take minutes.
    await windowed(1, () => sleep(spec.warmUpMs))
    let next = 0
    const stop = pace(spec.updatesPerSecond, (count) => {
      for (let i = 0; i < count; i++) send(loads[next++ % loads.length]!, 1)
    })
    cases.push(await measure(''))
    stop()
    await settle()
  } else {
    for (const size of spec.windows) cases.push(await windowed(size, () => measure(`window ${size}`)))
  }
  for (const peer of [...readers, ...writers]) peer.socket.end()
  return { cases, errors: errors.slice(0, 20) }
}
