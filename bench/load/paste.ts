/**
 * One person types, another reads, and many writers paste a large text each into the same document. A key's
 * latency runs from its write to the reader's read that brought it; keys count that are pressed from the
 * first paste until two seconds after the last.
 *
 * Everybody is sent every paste: with 50 writers of 400 KB that is 1 GB. The writers only count bytes,
 * so that the load is not what is measured; the reader looks into every frame. In the end it must have
 * all, and each writer as many bytes as the others pasted.
 */
import { resetResidentPeak, residentBytes, residentPeakBytes, startCpuMeter } from '../harness/cpu.ts'
import { pace } from './fan-out.ts'
import { emptyStateVector, syncFrame, typingFrameBytesMax, writeTypingFrame } from './frames.ts'
import { type Joined, joinOnce } from './joiner.ts'
import { openPeer, sleep, until } from './peer.ts'
import type { LoadResult, PasteSpec } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

const typist = 900_000_000
const writersFrom = 1_000_000_000
const warmUpMs = 1000
const afterPastesMs = 2000
const deliveredDeadlineMs = 60_000

export async function paste(spec: PasteSpec, document: string): Promise<LoadResult> {
  const errors: string[] = []
  const onBroken = (reason: string) => {
    errors.push(reason)
  }
  const idleBytes = residentBytes(spec.serverPid)
  const keyTimes: number[] = []
  const keyLatencies: number[] = []
  const pasted = new Set<number>()
  const received = new Float64Array(spec.writers)
  let keysSeen = 0
  let now = 0

  const visitor = {
    onStructs(client: number, clock: number, length: number) {
      if (client !== typist) {
        pasted.add(client)
        return
      }
      if (clock > keysSeen) errors.push(`the reader got key ${clock} before ${keysSeen}`)
      for (; keysSeen < clock + length; keysSeen++) keyLatencies[keysSeen] = now - keyTimes[keysSeen]!
    },
    onDeletes() {},
  }
  const reader = openPeer({
    ...spec,
    document,
    onUpdate(bytes, start) {
      now = performance.now()
      visitUpdate(bytes, syncMessage(bytes, start)!.start, visitor)
    },
    onBroken,
  })
  const typing = openPeer({ ...spec, document, onUpdate() {}, onBroken })
  await Promise.all([reader.ready, typing.ready])
  const ask = spec.handshake ? syncFrame(0, emptyStateVector) : null
  const writers: Joined[] = []
  for (let i = 0; i < spec.writers; i++)
    writers.push(
      await joinOnce({
        ...spec,
        document,
        ask,
        deadlineMs: deliveredDeadlineMs,
        onPayload(bytes) {
          received[i]! += bytes
        },
        onBroken: () => onBroken(`writer ${i} was cut off`),
      }),
    )
  const frames = writers.map((_, i) => syncFrame(2, pasteUpdate(writersFrom + i, spec.pasteBytes)))

  const stopTyping = pace(spec.keysPerSecond, (count) => {
    for (; count > 0; count--) {
      const frame = Buffer.allocUnsafe(typingFrameBytesMax)
      const end = writeTypingFrame(frame, 0, typist, keyTimes.length)
      keyTimes.push(performance.now())
      typing.socket.write(frame.subarray(0, end))
    }
  })
  await sleep(warmUpMs)
  const firstKey = keyTimes.length
  resetResidentPeak(spec.serverPid)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  const from = performance.now()
  for (const [i, frame] of frames.entries()) {
    const wait = from + (i * spec.spreadMs) / spec.writers - performance.now()
    if (wait > 1) await sleep(wait)
    writers[i]!.write(frame)
  }
  const complete = () =>
    pasted.size === spec.writers && received.every((bytes) => bytes >= (spec.writers - 1) * spec.pasteBytes)
  let everywhereMs = 0
  const end = from + spec.spreadMs + afterPastesMs
  await until(
    () => {
      if (everywhereMs === 0 && complete()) everywhereMs = performance.now() - from
      return performance.now() >= end || errors.length > 0
    },
    spec.spreadMs + afterPastesMs * 2,
  )
  const endKey = keyTimes.length
  stopTyping()
  const arrived = await until(
    () => (complete() && keysSeen === keyTimes.length) || errors.length > 0,
    deliveredDeadlineMs,
  )
  if (everywhereMs === 0) everywhereMs = performance.now() - from
  const cpu = meter.stop()
  if (!arrived)
    errors.push(
      `${keyTimes.length - keysSeen} keys and ${spec.writers - pasted.size} pastes never reached the reader`,
    )
  reader.socket.end()
  typing.socket.end()
  for (const writer of writers) writer.end()

  const sorted = keyLatencies.slice(firstKey, endKey).sort((a, b) => a - b)
  const quantile = (fraction: number) =>
    sorted[Math.max(0, Math.ceil(sorted.length * fraction) - 1)] ?? Number.NaN
  const figures = {
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    everywhereMs,
    residentAboveIdleBytes: residentPeakBytes(spec.serverPid) - idleBytes,
    serverCpuMs: cpu.serverMs,
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: [...new Set(errors)].slice(0, 5) }
}

/** One struct: a text at the beginning of the root `text`, of a client that has written nothing before. */
function pasteUpdate(client: number, textBytes: number): Buffer {
  const head: number[] = [1, 1]
  const push = (value: number) => {
    let rest = value
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) head.push(0x80 | (rest % 128))
    head.push(rest)
  }
  push(client)
  head.push(0, 4, 1, 4, ...Buffer.from('text'))
  push(textBytes)
  const words = 'the tide comes in twice a day and leaves its mark upon the shore '
  return Buffer.concat([Buffer.from(head), Buffer.alloc(textBytes, words), Buffer.of(0)])
}
