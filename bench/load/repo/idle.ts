/**
 * Sessions of automerge-repo's peers that do nothing, each on a document of its own: the load of ../idle.ts, and the same figures. A server
 * knows of no document that nobody has, so each is made with a change that leaves it empty but for a text; a session counts when the
 * server has answered to it.
 */
import { residentBytes, startCpuMeter } from '../../harness/cpu.ts'
import { typedChain } from '../automerge-changes.ts'
import { sleep } from '../peer.ts'
import type { IdleSpec, LoadResult } from '../spec.ts'
import { documentIdOf, RepoPeer } from './peer.ts'

const settleMs = 3000
const answeredMs = 60_000

export async function repoIdle(spec: IdleSpec, prefix: string): Promise<LoadResult> {
  const { changes, heads } = typedChain(0)
  const errors: string[] = []
  const peers: RepoPeer[] = []
  let next = 0
  let ending = false
  const connect = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const index = next++
      const timeout = setTimeout(() => reject(new Error('a session was never answered')), answeredMs)
      const peer = new RepoPeer({
        ...spec,
        name: `idle-${index}`,
        onSync() {
          clearTimeout(timeout)
          resolve()
        },
        onBroken(reason) {
          if (!ending) errors.push(reason)
          clearTimeout(timeout)
          reject(new Error(reason))
        },
      })
      peers.push(peer)
      const documentId = documentIdOf(`${prefix}-${index % spec.documents}`)
      peer.whenJoined(() => peer.sync(documentId, [heads[0]!], changes))
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
  ending = true
  for (const peer of peers) peer.end()
  const figures = {
    connectsPerSecond: (spec.sessions / cpu.wallMs) * 1000,
    serverCpuMicrosecondsPerConnect: (cpu.serverMs * 1000) / spec.sessions,
    residentBytesPerSession: resident / spec.sessions,
    idleServerCores: idleCpu.serverMs / idleCpu.wallMs,
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: [...new Set(errors)].slice(0, 5) }
}
