/**
 * Sessions that join empty documents, and then do nothing. Connects run at most `atOnce` at a time; one counts when it was answered:
 * with its step 2, by a raw server with its own first message. Those of other engines: repo/idle.ts.
 */
import { residentBytes, startCpuMeter } from '../harness/cpu.ts'
import { emptyStateVector, syncFrame } from './frames.ts'
import { openPeer, sleep } from './peer.ts'
import type { IdleSpec, LoadResult } from './spec.ts'

/** For memory to settle; short of the time at which heartbeats begin. */
const settleMs = 3000
const answeredMs = 60_000

export interface IdleEvents {
  onAnswered(): void
  onBroken(reason: string): void
}

/** Opens one on that document; returns what ends it. */
export type OpenIdle = (index: number, document: string, events: IdleEvents) => () => void

export async function idle(spec: IdleSpec, prefix: string, open: OpenIdle): Promise<LoadResult> {
  const errors: string[] = []
  const ends: (() => void)[] = []
  let next = 0
  let isOver = false
  const connect = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const index = next++
      const timeout = setTimeout(() => reject(new Error('a session was never answered')), answeredMs)
      const end = open(index, `${prefix}-${index % spec.documents}`, {
        onAnswered() {
          clearTimeout(timeout)
          resolve()
        },
        onBroken(reason) {
          if (!isOver) errors.push(reason)
          clearTimeout(timeout)
          reject(new Error(reason))
        },
      })
      ends.push(end)
    })
  const connectUpTo = async (count: number): Promise<void> => {
    await Promise.all(
      Array.from({ length: spec.atOnce }, async () => {
        while (next < count) await connect()
      }),
    )
  }
  await connectUpTo(spec.warmUpSessions)
  await sleep(settleMs / 2)
  const residentBefore = residentBytes(spec.serverPid)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  await connectUpTo(spec.warmUpSessions + spec.sessions)
  const cpu = meter.stop()
  await sleep(settleMs)
  const resident = residentBytes(spec.serverPid) - residentBefore
  const idleMeter = startCpuMeter(spec.serverPid, spec.logPid)
  await sleep(settleMs / 3)
  const idleCpu = idleMeter.stop()
  isOver = true
  for (const end of ends) end()
  const figures = {
    connectsPerSecond: (spec.sessions / cpu.wallMs) * 1000,
    serverCpuMicrosecondsPerConnect: (cpu.serverMs * 1000) / spec.sessions,
    residentBytesPerSession: resident / spec.sessions,
    idleServerCores: idleCpu.serverMs / idleCpu.wallMs,
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: [...new Set(errors)].slice(0, 5) }
}

const firstFrame = syncFrame(0, emptyStateVector)

export const openIdle =
  (spec: IdleSpec): OpenIdle =>
  (_index, document, { onAnswered, onBroken }) => {
    const peer = openPeer({ ...spec, document, onUpdate: onAnswered, onFrame: onAnswered, onBroken })
    if (!spec.handshake) void peer.opened.then(() => peer.socket.write(firstFrame))
    return () => peer.socket.end()
  }
