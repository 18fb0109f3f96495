/**
 * One writer and many readers of one document.
 *
 * Closed loop: at most `window` updates are on their way to the slowest reader, so throughput is
 * measured at a bounded latency. A reader's progress is the highest clock it was given; since all
 * updates are one client's and in order, only the last frame of a read is parsed. One reader, the
 * witness, parses every frame and proves that no clock is missing; at the end every reader must have
 * the last clock. Latency runs from the write of the update's turn to the read that brought it,
 * counted for each update and reader.
 */
import { startCpuMeter } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { openAppPeer } from './app-peer.ts'
import { typingFrameBytesMax, writeTypingFrame } from './frames.ts'
import { joinInTurns, openPeer, type Peer, sleep, until } from './peer.ts'
import type { FanOutSpec, LoadCase, LoadResult } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

/** Few updates at a time, so that what is compiled is what runs later. */
const pacedWarmUpWindow = 64

const client = 3_123_456_789
const deliveredDeadlineMs = 30_000

interface Reader {
  clock: number
  /** First of the turns that this reader has not wholly. */
  turn: number
  lastBytes: Buffer | null
  lastStart: number
}

export async function fanOut(spec: FanOutSpec, document: string): Promise<LoadResult> {
  const errors: string[] = []
  const latencies = new Latencies()
  const turnEnd: number[] = []
  const turnTime: number[] = []
  const readers: Reader[] = []
  let sent = 0
  let measuring = false
  let deliveries = 0
  let wake: (() => void) | null = null
  let parsedEnd = 0

  const onBroken = (reason: string) => {
    errors.push(reason)
  }
  const visitor = {
    onStructs(_client: number, clock: number, length: number) {
      parsedEnd = clock + length
    },
    onDeletes() {},
  }
  const parseEnd = (bytes: Buffer, start: number): number => {
    parsedEnd = 0
    visitUpdate(bytes, syncMessage(bytes, start)!.start, visitor)
    return parsedEnd
  }

  const progress = (reader: Reader, clock: number) => {
    if (clock <= reader.clock) return
    if (measuring) {
      const now = performance.now()
      let from = reader.clock
      let turn = reader.turn
      while (from < clock) {
        const to = Math.min(turnEnd[turn]!, clock)
        latencies.add(now - turnTime[turn]!, to - from)
        from = to
        if (from === turnEnd[turn]!) turn++
      }
      reader.turn = turn
      deliveries += clock - reader.clock
    } else {
      while (reader.turn < turnEnd.length && turnEnd[reader.turn]! <= clock) reader.turn++
    }
    reader.clock = clock
    wake?.()
  }

  const openReader = (index: number): Peer => {
    const reader: Reader = { clock: 0, turn: 0, lastBytes: null, lastStart: 0 }
    readers.push(reader)
    const witness = index === 0
    const open = spec.appReaders === true ? openAppPeer : openPeer
    return open({
      ...spec,
      document,
      onUpdate(bytes, start) {
        if (witness) {
          let next = reader.clock
          visitUpdate(bytes, syncMessage(bytes, start)!.start, {
            onStructs(_client, clock, length) {
              if (clock > next) errors.push(`a reader got clock ${clock} before ${next}`)
              next = Math.max(next, clock + length)
            },
            onDeletes() {},
          })
          progress(reader, next)
        } else {
          reader.lastBytes = bytes
          reader.lastStart = start
        }
      },
      onRead() {
        if (reader.lastBytes === null) return
        const clock = parseEnd(reader.lastBytes, reader.lastStart)
        reader.lastBytes = null
        progress(reader, clock)
      },
      onBroken,
    })
  }

  const peers = await joinInTurns(spec.readers, openReader)
  const [writer] = await joinInTurns(1, () => openPeer({ ...spec, document, onUpdate() {}, onBroken }))

  const slowest = () => {
    let clock = sent
    for (const reader of readers) if (reader.clock < clock) clock = reader.clock
    return clock
  }
  const send = (count: number) => {
    const { address } = writer!
    const bytes = Buffer.allocUnsafe(count * (typingFrameBytesMax + address.length))
    let length = 0
    for (let i = 0; i < count; i++) length = writeTypingFrame(bytes, length, client, sent++, address)
    turnEnd.push(sent)
    turnTime.push(performance.now())
    writer!.writeAddressed(bytes.subarray(0, length))
  }

  const measure = async (name: string): Promise<LoadCase> => {
    await sleep(spec.warmUpMs)
    latencies.reset()
    deliveries = 0
    const sentBefore = sent
    const meter = startCpuMeter(spec.serverPid, spec.logPid)
    measuring = true
    await sleep(spec.measureMs)
    measuring = false
    const cpu = meter.stop()
    return {
      name,
      figures: {
        deliveriesPerSecond: (deliveries / cpu.wallMs) * 1000,
        updatesPerSecond: ((sent - sentBefore) / cpu.wallMs) * 1000,
        p50Ms: latencies.quantile(0.5),
        p99Ms: latencies.quantile(0.99),
        serverCpuMicrosecondsPerDelivery: (cpu.serverMs * 1000) / deliveries,
        ...cpu.figures,
      },
    }
  }
  const settle = async () => {
    if (!(await until(() => slowest() === sent, deliveredDeadlineMs)))
      errors.push(`${sent - slowest()} of ${sent} updates never reached the slowest reader`)
  }

  /** Keeps at most `windowMax` updates undelivered to the slowest reader while `during` runs. */
  const windowed = async <T>(windowMax: number, during: () => Promise<T>): Promise<T> => {
    let scheduled = false
    const pump = () => {
      scheduled = false
      const room = windowMax - (sent - slowest())
      if (room > 0 && wake !== null) send(room)
    }
    wake = () => {
      if (!scheduled) setImmediate(pump)
      scheduled = true
    }
    wake()
    const result = await during()
    wake = null
    await settle()
    return result
  }

  const cases: LoadCase[] = []
  if (spec.updatesPerSecond !== undefined) {
    // A server that has run for a while is compiled; at a few updates a second that alone would take minutes.
    await windowed(pacedWarmUpWindow, () => sleep(spec.warmUpMs))
    const stop = pace(spec.updatesPerSecond, send)
    cases.push(await measure(''))
    stop()
    await settle()
  } else {
    for (const window of spec.windows) cases.push(await windowed(window, () => measure(`window ${window}`)))
  }
  for (const peer of [...peers, writer!]) peer.socket.end()
  return { cases, errors }
}

/** Calls `send` with what is due, about every millisecond; what is late is sent at once. */
export function pace(perSecond: number, send: (count: number) => void): () => void {
  const start = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - start) * perSecond) / 1000) - sent
    if (due > 0) send(due)
    sent += due
  }, 1)
  return () => clearInterval(timer)
}
