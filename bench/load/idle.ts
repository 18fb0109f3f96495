/**
 * Sessions that join empty documents, and then do nothing. Connects run at most `atOnce` at a time;
 * one counts when it has its step 2, against a raw server when its first message came back.
 */
import { residentBytes, startCpuMeter } from '../harness/cpu.ts'
import { emptyStateVector, syncFrame } from './frames.ts'
import { openPeer, type Peer, sleep } from './peer.ts'
import type { IdleSpec, LoadResult } from './spec.ts'

/** For memory to settle; short of the time at which heartbeats begin. */
const settleMs = 3000

const firstFrame = syncFrame(0, emptyStateVector)

export async function idle(spec: IdleSpec, prefix: string): Promise<LoadResult> {
  const errors: string[] = []
  const peers: Peer[] = []
  let next = 0
  const connect = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const peer = openPeer({
        ...spec,
        document: `${prefix}-${next++ % spec.documents}`,
        onUpdate: () => resolve(),
        onFrame: () => resolve(),
        onBroken(reason) {
          errors.push(reason)
          reject(new Error(reason))
        },
      })
      peers.push(peer)
      if (!spec.handshake) void peer.opened.then(() => peer.socket.write(firstFrame))
    })
  const connectUpTo = async (count: number) => {
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
  for (const peer of peers) peer.socket.end()
  return {
    cases: [
      {
        name: '',
        figures: {
          connectsPerSecond: (spec.sessions / cpu.wallMs) * 1000,
          serverCpuMicrosecondsPerConnect: (cpu.serverMs * 1000) / spec.sessions,
          residentBytesPerSession: resident / spec.sessions,
          idleServerCores: idleCpu.serverMs / idleCpu.wallMs,
          ...cpu.figures,
        },
      },
    ],
    errors: [...new Set(errors)].slice(0, 5),
  }
}
