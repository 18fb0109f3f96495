/**
 * A long writing session sent edit by edit at a bounded window, one frame an edit, and received by one
 * reader. An edit counts as arrived when the reader has its clock, or the deletion of its target; a
 * server that passes on only what is durable has then made it durable.
 *
 * Afterwards a newcomer joins, again and again until what it is sent stops shrinking: the bytes of its
 * step 2 are what the server keeps for the document, and must make the text of the trace.
 */
import { createHash } from 'node:crypto'
import * as Y from 'yjs'
import { startCpuMeter } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { readEditTrace } from './edit-trace.ts'
import { syncFrame } from './frames.ts'
import { joinInTurns, openPeer, sleep, until } from './peer.ts'
import type { LoadResult, TraceSpec } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

const deliveredDeadlineMs = 120_000
const joinDeadlineMs = 60_000

export async function trace(spec: TraceSpec, document: string): Promise<LoadResult> {
  const errors: string[] = []
  const latencies = new Latencies()
  const { updates, text } = readEditTrace(spec.traceFile)
  const frames = updates.map((update) => syncFrame(2, update))
  const times = new Float64Array(updates.length)
  const deleted = new Uint8Array(updates.length)
  let sent = 0
  let clock = 0
  let arrived = 0
  let wake = () => {}

  const arrive = (count: number) => {
    const now = performance.now()
    for (let i = 0; i < count; i++) latencies.add(now - times[arrived++]!)
  }
  const visitor = {
    onStructs(_client: number, from: number, length: number) {
      if (from > clock) errors.push(`the reader got clock ${from} before ${clock}`)
      const end = Math.max(clock, from + length)
      arrive(end - clock)
      clock = end
    },
    onDeletes(_client: number, from: number, length: number) {
      for (let i = from; i < from + length; i++) {
        if (deleted[i] === 1) continue
        deleted[i] = 1
        arrive(1)
      }
    },
  }
  const onBroken = (reason: string) => {
    errors.push(reason)
  }
  const peers = await joinInTurns(2, (index) =>
    openPeer({
      ...spec,
      document,
      onUpdate(bytes, start) {
        if (index === 0) visitUpdate(bytes, syncMessage(bytes, start)!.start, visitor)
      },
      onRead() {
        if (index === 0) wake()
      },
      onBroken,
    }),
  )
  const writer = peers[1]!.socket

  let scheduled = false
  const pump = () => {
    scheduled = false
    const to = Math.min(frames.length, arrived + spec.window)
    if (to <= sent) return
    times.fill(performance.now(), sent, to)
    writer.write(Buffer.concat(frames.slice(sent, to)))
    sent = to
  }
  wake = () => {
    if (!scheduled) setImmediate(pump)
    scheduled = true
  }

  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  wake()
  let last = 0
  let lastAt = performance.now()
  await until(() => {
    if (arrived > last) {
      last = arrived
      lastAt = performance.now()
    }
    return arrived >= updates.length || errors.length > 0 || performance.now() - lastAt > 10_000
  }, deliveredDeadlineMs)
  const cpu = meter.stop()
  if (arrived < updates.length)
    errors.push(`${updates.length - arrived} of ${updates.length} edits never arrived`)
  const figures: Record<string, number> = {
    updatesPerSecond: (arrived / cpu.wallMs) * 1000,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    ...cpu.figures,
  }
  for (const peer of peers) peer.socket.end()

  if (spec.handshake && errors.length === 0) {
    const before = await coldJoin(spec, document)
    figures['joinBytesAtOnce'] = before.bytes.length
    figures['joinMsAtOnce'] = before.milliseconds
    const from = performance.now()
    let smallest = before
    let settledAt = from
    while (performance.now() - from < spec.compactionDeadlineMs) {
      await sleep(1000)
      const next = await coldJoin(spec, document)
      if (next.bytes.length < smallest.bytes.length * 0.995) settledAt = performance.now()
      if (next.bytes.length <= smallest.bytes.length) smallest = next
      if (smallest.bytes.length < before.bytes.length * 0.5 && performance.now() - settledAt > 3000) break
      if (spec.compactionDeadlineMs < 1500) break
    }
    figures['joinBytesCompacted'] = smallest.bytes.length
    figures['joinMsCompacted'] = smallest.milliseconds
    figures['compactedAfterMs'] = settledAt - from
    const replica = new Y.Doc()
    Y.applyUpdate(replica, smallest.bytes)
    if (digest(replica.getText('text').toString()) !== digest(text))
      errors.push('a newcomer has another text than the trace')
  }
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 20) }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

async function coldJoin(spec: TraceSpec, document: string): Promise<{ bytes: Buffer; milliseconds: number }> {
  const parts: Buffer[] = []
  const from = performance.now()
  const peer = openPeer({
    ...spec,
    document,
    onUpdate(bytes, start, end) {
      parts.push(Buffer.from(bytes.subarray(syncMessage(bytes, start)!.start, end)))
    },
    onBroken() {},
  })
  const timeout = setTimeout(() => peer.socket.end(), joinDeadlineMs)
  await peer.ready
  clearTimeout(timeout)
  const milliseconds = performance.now() - from
  peer.socket.end()
  return { bytes: parts.length === 1 ? parts[0]! : Buffer.from(Y.mergeUpdates(parts)), milliseconds }
}
