/**
 * Users of one document who each tell once a second where they are, in ephemeral messages of automerge-repo: the load of ../presence.ts,
 * and the same figures. Author and count stand behind a mark in the message's data, so that nobody has to decode 250,000 a second.
 */
import { encode } from 'cborg'
import { startCpuMeter } from '../../harness/cpu.ts'
import { Latencies } from '../../harness/statistics.ts'
import { typedChain } from '../automerge-changes.ts'
import { pace } from '../fan-out.ts'
import { sleep, until } from '../peer.ts'
import type { LoadResult, PresenceSpec } from '../spec.ts'
import { documentIdOf, joinPeers, RepoPeer } from './peer.ts'

const mark = Buffer.from('f4c9e1a73b5d8206', 'hex')
const settledDeadlineMs = 15_000
const knownMs = 1_000
const timesKept = 64

export async function repoPresence(spec: PresenceSpec, document: string): Promise<LoadResult> {
  const { users } = spec
  const { changes, heads } = typedChain(0)
  const documentId = documentIdOf(document)
  const errors: string[] = []
  const latencies = new Latencies()
  const counts = new Uint32Array(users)
  const times = new Float64Array(users * timesKept)
  /** By receiver and author: the highest count seen. */
  const seen = new Uint32Array(users * users)
  const isKnown = new Uint8Array(users)
  let measuring = false
  let states = 0

  const receive = (receiver: number, bytes: Buffer, start: number, end: number): boolean => {
    const at = bytes.subarray(start, end).indexOf(mark)
    if (at < 0) return false
    const now = performance.now()
    const author = bytes.readUInt16BE(start + at + mark.length)
    const count = bytes.readUInt32BE(start + at + mark.length + 2)
    const place = receiver * users + author
    if (author === receiver || count <= seen[place]!) return true
    seen[place] = count
    if (!measuring) return true
    states++
    latencies.add(now - times[author * timesKept + (count % timesKept)]!)
    return true
  }
  const peers = await joinPeers(
    users,
    (index) =>
      new RepoPeer({
        ...spec,
        name: `user-${index}`,
        onSync() {
          isKnown[index] = 1
        },
        onFrame: (bytes, start, end) => receive(index, bytes, start, end),
        onBroken: (reason) => errors.push(reason),
      }),
  )
  for (const peer of peers) peer.sync(documentId, [heads[0]!], changes)
  if (!(await until(() => isKnown.every((known) => known === 1), settledDeadlineMs)))
    errors.push('not everybody was answered')
  await sleep(knownMs)
  let next = 0
  const stop = pace(users, (due) => {
    for (let i = 0; i < due; i++) {
      const user = next++ % users
      const count = ++counts[user]!
      times[user * timesKept + (count % timesKept)] = performance.now()
      peers[user]!.ephemeral(documentId, count, stateOf(user, count))
    }
  })
  await sleep(spec.warmUpMs)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  measuring = true
  await sleep(spec.measureMs)
  measuring = false
  const cpu = meter.stop()
  stop()
  const lacking = (): number => {
    let count = 0
    for (let receiver = 0; receiver < users; receiver++)
      for (let author = 0; author < users; author++)
        if (author !== receiver && seen[receiver * users + author]! < counts[author]!) count++
    return count
  }
  if (!(await until(() => lacking() === 0, settledDeadlineMs)))
    errors.push(`${lacking()} states never arrived`)
  for (const peer of peers) peer.end()
  const figures = {
    statesPerSecond: (states / cpu.wallMs) * 1000,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: [...new Set(errors)].slice(0, 5) }
}

/** As large as a state of y-protocols' awareness: about 100 bytes. */
function stateOf(user: number, count: number): Uint8Array {
  const at = Buffer.allocUnsafe(mark.length + 6)
  mark.copy(at)
  at.writeUInt16BE(user, mark.length)
  at.writeUInt32BE(count, mark.length + 2)
  const anchor = (user * 7919 + count * 37) % 100_000
  return encode({ at, name: `Visitor ${user}`, color: '#30bced', anchor, head: anchor + (count % 9) })
}
