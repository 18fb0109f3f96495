/**
 * The server is killed while documents are typed into by peers of automerge-repo, and started anew: the loads of ../durability.ts, and the
 * same figures. automerge-repo acknowledges nothing, so only what readers had seen is counted.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { type Chain, placeOf, typedChain } from '../automerge-changes.ts'
import { pace } from '../fan-out.ts'
import { sleep, until } from '../peer.ts'
import type { KillSpec, LoadResult, RecoverSpec } from '../spec.ts'
import { documentIdOf, headsKey, joinPeers, RepoPeer } from './peer.ts'

const knownMs = 1_000
/** What is on its way to readers when the server dies is read by then. */
const drainMs = 500
const readDeadlineMs = 10_000

interface Record {
  /** After each change. */
  readonly heads: readonly string[]
  readonly documents: readonly { readonly sent: number; readonly seen: number }[]
}

export async function repoKill(spec: KillSpec, prefix: string): Promise<LoadResult> {
  const perDocument = Math.ceil((spec.updatesPerSecond * spec.afterMs) / 1000 / spec.documents)
  const chain = typedChain(perDocument * 2)
  const ids = Array.from({ length: spec.documents }, (_, index) => documentIdOf(`${prefix}-${index}`))
  const documents = ids.map(() => ({ sent: 1, seen: 0 }))
  const errors: string[] = []
  let isKilled = false
  const onBroken = (reason: string): void => {
    if (!isKilled) errors.push(reason)
  }
  const writers = await joinPeers(
    ids.length,
    (index) => new RepoPeer({ ...spec, name: `writer-${index}`, onBroken }),
  )
  for (const [index, writer] of writers.entries())
    writer.sync(ids[index]!, [chain.heads[0]!], [chain.changes[0]!])
  await sleep(knownMs)
  const readers = await joinPeers(ids.length, (index) => {
    const reader = new RepoPeer({
      ...spec,
      name: `reader-${index}`,
      onBroken,
      onSync(_, { heads, changes }) {
        const place = changes.length > 0 ? placeOf(chain, heads) : undefined
        if (place !== undefined) documents[index]!.seen = Math.max(documents[index]!.seen, place + 1)
      },
    })
    reader.whenJoined(() => reader.request(ids[index]!))
    return reader
  })
  await until(() => documents.every(({ seen }) => seen > 0), readDeadlineMs)
  let next = 0
  const stop = pace(spec.updatesPerSecond, (count) => {
    for (let i = 0; i < count; i++) {
      const index = next++ % ids.length
      const at = documents[index]!.sent++
      if (at >= chain.changes.length) continue
      writers[index]!.sync(ids[index]!, [chain.heads[at]!], [chain.changes[at]!])
    }
  })
  await sleep(spec.afterMs)
  isKilled = true
  process.kill(spec.serverPid, 'SIGKILL')
  stop()
  await sleep(drainMs)
  for (const peer of [...readers, ...writers]) peer.end()
  const record: Record = { heads: chain.heads.map((head) => headsKey([head])), documents }
  writeFileSync(spec.seenFile, JSON.stringify(record))
  return { cases: [{ name: '', figures: totals(record) }], errors: errors.slice(0, 5) }
}

export async function repoRecover(spec: RecoverSpec, prefix: string): Promise<LoadResult> {
  const record = JSON.parse(readFileSync(spec.seenFile, 'utf8')) as Record
  const chain: Pick<Chain, 'places'> = { places: new Map(record.heads.map((head, i) => [head, i])) }
  const errors: string[] = []
  const found = new Uint32Array(record.documents.length)
  const readers = await joinPeers(found.length, (index) => {
    const reader = new RepoPeer({
      ...spec,
      name: `newcomer-${index}`,
      onBroken: (reason) => errors.push(reason),
      onSync(_, { heads, changes }) {
        const place = changes.length > 0 ? chain.places.get(headsKey(heads)) : undefined
        if (place !== undefined) found[index] = Math.max(found[index]!, place + 1)
      },
    })
    reader.whenJoined(() => reader.request(documentIdOf(`${prefix}-${index}`)))
    return reader
  })
  await until(() => record.documents.every(({ seen }, i) => found[i]! >= seen), readDeadlineMs)
  for (const peer of readers) peer.end()
  const seenAndLost = record.documents.reduce((sum, { seen }, i) => sum + Math.max(0, seen - found[i]!), 0)
  const { sent, seen } = totals(record)
  const figures = { sent, seen, seenAndLost, seenAndLostPercent: (100 * seenAndLost) / seen }
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 5) }
}

const totals = ({ documents }: Record): { sent: number; seen: number } => ({
  sent: documents.reduce((total, { sent }) => total + sent, 0),
  seen: documents.reduce((total, { seen }) => total + seen, 0),
})
