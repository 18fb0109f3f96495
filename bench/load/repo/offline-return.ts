/**
 * Everybody was away, edited, and comes back in the same moment, as peers of automerge-repo: the load of ../offline-return.ts, and the same
 * figures. Each client says where it is and sends its changes with that, again after
 * 5 s when its connection breaks; it has everything when it is given changes with the heads of all.
 * A few newcomers afterwards put together what they are given, which has to be the text of all edits.
 */
import * as Automerge from '@automerge/automerge'
import { startCpuMeter } from '../../harness/cpu.ts'
import { sleep, until } from '../peer.ts'
import type { LoadResult, OfflineReturnSpec } from '../spec.ts'
import { documentIdOf, headsKey, joinPeers, RepoPeer } from './peer.ts'

const knownMs = 2_000
const wholeDeadlineMs = 10_000
const checkedDocuments = 5
const retryMs = 5_000
const firstText = 'The tide comes in twice a day and leaves its mark upon the shore. '.repeat(16)

interface Content extends Record<string, unknown> {
  text: string
}

function prepare(spec: OfflineReturnSpec) {
  const first = Automerge.from<Content>({ text: firstText })
  const replicas = Array.from({ length: spec.clientsPerDocument }, (_, number) => {
    let replica = Automerge.clone(first)
    for (let i = 0; i < spec.editsPerClient; i++)
      replica = Automerge.change(replica, (doc) => {
        Automerge.splice(doc, ['text'], (i * 37 + number * 101) % doc.text.length, 0, 'x')
      })
    return replica
  })
  const whole = replicas.reduce((all, replica) => Automerge.merge(all, replica), Automerge.clone(first))
  return {
    firstChange: Automerge.getLastLocalChange(first)!,
    firstHeads: headsOf(first),
    returning: replicas.map((replica) => ({
      heads: headsOf(replica),
      changes: Automerge.getChanges(first, replica),
    })),
    wholeKey: headsKey(headsOf(whole)),
    text: whole.text,
  }
}

export async function repoOfflineReturn(spec: OfflineReturnSpec, prefix: string): Promise<LoadResult> {
  const errors: string[] = []
  const { firstChange, firstHeads, returning, wholeKey, text } = prepare(spec)
  const onBroken = (reason: string): void => {
    errors.push(reason)
  }
  const ids = Array.from({ length: spec.documents }, (_, index) => documentIdOf(`${prefix}-${index}`))
  const [seeder] = await joinPeers(1, () => new RepoPeer({ ...spec, name: 'seeder', onBroken }))
  for (const id of ids) seeder!.sync(id, firstHeads, [firstChange])
  await sleep(knownMs)
  seeder!.end()

  const peers: RepoPeer[] = []
  const total = spec.documents * spec.clientsPerDocument
  let opened = 0
  let openedMs = 0
  let done = 0
  let doneMs = 0
  let isOver = false
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  const from = performance.now()
  for (const [index, id] of ids.entries())
    for (const [number, client] of returning.entries()) {
      let isWhole = false
      let hasOpened = false
      const come = (time: number): void => {
        const peer = new RepoPeer({
          ...spec,
          name: `client-${index}-${number}-${time}`,
          onSync(_, message) {
            if (isWhole || message.heads.length < returning.length || headsKey(message.heads) !== wholeKey)
              return
            isWhole = true
            if (++done === total) doneMs = performance.now() - from
          },
          // As automerge-repo's own clients do.
          onBroken() {
            if (!isOver && !isWhole) setTimeout(() => come(time + 1), retryMs)
          },
        })
        peers.push(peer)
        peer.whenJoined(() => {
          if (!hasOpened && ++opened === total) openedMs = performance.now() - from
          hasOpened = true
          peer.sync(id, client.heads, client.changes)
        })
      }
      come(0)
    }
  const converged = await until(() => done === total || errors.length > 0, spec.deadlineMs)
  isOver = true
  const cpu = meter.stop()
  if (!converged || done < total)
    errors.push(`${total - done} of ${total} clients did not converge, ${total - opened} did not connect`)
  if (errors.length === 0) errors.push(...(await check(spec, ids.slice(0, checkedDocuments), text)))
  for (const peer of peers) peer.end()
  const figures = {
    ...(done < total ? {} : { connectedMs: openedMs, convergedMs: doneMs }),
    serverCpuMs: cpu.serverMs,
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 20) }
}

async function check(spec: OfflineReturnSpec, ids: readonly string[], text: string): Promise<string[]> {
  const errors: string[] = []
  for (const [index, id] of ids.entries()) {
    let replica = Automerge.init<Content>()
    const peer = new RepoPeer({
      ...spec,
      name: `newcomer-${index}`,
      onSync(_, { changes }) {
        for (const change of changes) replica = Automerge.loadIncremental(replica, Uint8Array.from(change))
      },
      onBroken: (reason) => errors.push(reason),
    })
    await peer.joined
    peer.request(id)
    if (!(await until(() => replica.text === text, wholeDeadlineMs)))
      errors.push(`document ${index} has another text than all edits make`)
    peer.end()
  }
  return errors
}

const headsOf = (doc: Automerge.Doc<unknown>): Uint8Array[] =>
  Automerge.getHeads(doc).map((head) => Uint8Array.from(Buffer.from(head, 'hex')))
