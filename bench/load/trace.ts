/**
 * A long writing session sent edit by edit at a bounded window, one frame an edit, and received by one
 * reader. An edit counts as arrived when the reader has its clock, or the deletion of its target; a
 * server that passes on only what is durable has then made it durable.
 *
 * Afterwards a newcomer joins, at once and again when the server's metrics say that compaction has come
 * to rest: the bytes of its step 2 are what the server keeps for the document, and must make the text of
 * the trace.
 */
import { createHash } from 'node:crypto'
import * as Y from 'yjs'
import { startCpuMeter } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { readEditTrace } from './edit-trace.ts'
import { emptyUpdate, syncFrame } from './frames.ts'
import { joinInTurns, openPeer, sleep, until } from './peer.ts'
import type { LoadResult, TraceSpec } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

const deliveredDeadlineMs = 120_000
const joinDeadlineMs = 60_000
const storedDeadlineMs = 60_000
const compactionQuietMs = 3000

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
    let compacted = before
    if (spec.metricsUrl !== null) {
      const rest = await untilCompacted(spec.metricsUrl, spec.compactionDeadlineMs)
      if (!rest.settled) errors.push(`no end of compaction in ${spec.compactionDeadlineMs} ms`)
      figures['compactions'] = rest.compactions
      figures['compactionsFailed'] = rest.failed
      figures['compactedAfterMs'] = rest.afterMs
      compacted = await coldJoin(spec, document)
    }
    figures['joinBytesCompacted'] = compacted.bytes.length
    figures['joinMsCompacted'] = compacted.milliseconds
    const replica = new Y.Doc()
    Y.applyUpdate(replica, compacted.bytes)
    if (digest(replica.getText('text').toString()) !== digest(text))
      errors.push('a newcomer has another text than the trace')
  }
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 20) }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/**
 * Nobody has the document open: a joiner would keep it from resting. It rests when its room is gone and
 * for a while no compaction was counted.
 */
export async function untilCompacted(
  metricsUrl: string,
  deadlineMs: number,
): Promise<{ settled: boolean; compactions: number; failed: number; afterMs: number }> {
  const from = performance.now()
  let compactions = -1
  let failed = 0
  let changedAt = from
  while (performance.now() - from < deadlineMs) {
    await sleep(250)
    const page = await (await fetch(metricsUrl)).text()
    const now = sum(page, 'tidemark_compactions_total')
    failed = sum(page, 'tidemark_compactions_total{result="failed"}')
    if (now !== compactions || sum(page, 'tidemark_rooms') > 0) changedAt = performance.now()
    compactions = now
    if (performance.now() - changedAt > compactionQuietMs)
      return { settled: true, compactions, failed, afterMs: changedAt - from }
  }
  return { settled: false, compactions, failed, afterMs: deadlineMs }
}

/** Of a Prometheus page: the metric over all its labels, or with the labels given in braces. */
export function sum(page: string, metric: string): number {
  const lines = page
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `))
  return lines.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
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
  // Some servers answer first, with nothing, and read what is stored afterwards.
  await until(() => parts.some(({ length }) => length > emptyUpdate.length), storedDeadlineMs)
  clearTimeout(timeout)
  const milliseconds = performance.now() - from
  peer.socket.end()
  return { bytes: parts.length === 1 ? parts[0]! : Buffer.from(Y.mergeUpdates(parts)), milliseconds }
}
