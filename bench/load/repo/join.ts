/**
 * Joins of one stored document by peers of automerge-repo: the loads of ../join.ts, and the same figures. Who comes back and lacks one
 * update is not asked. At the end a witness puts together what a newcomer is given, which must have the head that is expected.
 */
import * as Automerge from '@automerge/automerge'
import { residentBytes } from '../../harness/cpu.ts'
import { isCompacted, joinDeadlineMs, joinStep, newcomerVersion } from '../join.ts'
import { sleep, until } from '../peer.ts'
import type { JoinSpec, LoadCase, LoadResult, StoreSpec } from '../spec.ts'
import { type LargeRepoDocument, pendingChangesOf, tableChangesOf } from './large-document.ts'
import { documentIdOf, joinPeers, RepoPeer } from './peer.ts'

const storedDeadlineMs = 60_000
const storedBlindlyMs = 15_000

interface Newcomer {
  /** Of all messages that told of the document. */
  readonly bytes: number
  readonly chunks: readonly Uint8Array[]
  end(): void
}

export async function repoJoin(spec: JoinSpec): Promise<LoadResult> {
  const large = spec.repo!
  const documentId = documentIdOf(spec.document)
  const cases: LoadCase[] = []
  const idleBytes = residentBytes(spec.serverPid)
  let { head } = large
  for (const step of spec.steps) {
    if (step.kind === 'write') {
      await write(spec, large, documentId)
      head = large.pendingHead
    } else if (step.version === newcomerVersion) {
      const expected = head
      const come = (name: string) => comeAsNewcomer(spec, name, documentId, expected, false)
      cases.push(await joinStep(spec, step, idleBytes, come))
    }
  }
  const witness = await comeAsNewcomer(spec, 'witness', documentId, head, true)
  witness.end()
  let replica = Automerge.init<Record<string, unknown>>()
  for (const chunk of witness.chunks) replica = Automerge.loadIncremental(replica, chunk)
  const isWhole = Automerge.getHeads(replica).join() === head
  return { cases, errors: isWhole ? [] : ['a newcomer has other heads than were stored'] }
}

/** Resolves when it was given changes up to `head`. */
function comeAsNewcomer(
  spec: JoinSpec,
  name: string,
  documentId: string,
  head: string,
  keep: boolean,
): Promise<Newcomer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let bytes = 0
    const fail = (reason: string): void => {
      clearTimeout(timeout)
      peer.end()
      reject(new Error(`join of ${documentId}: ${reason}`))
    }
    const timeout = setTimeout(() => fail(`not done in ${joinDeadlineMs} ms`), joinDeadlineMs)
    const peer = new RepoPeer({
      ...spec,
      name,
      onSync(_, message, messageBytes) {
        bytes += messageBytes
        if (keep) chunks.push(...message.changes.map((change) => Uint8Array.from(change)))
        const isThere = message.heads.length === 1 && Buffer.from(message.heads[0]!).toString('hex') === head
        if (message.changes.length === 0 || !isThere) return
        clearTimeout(timeout)
        resolve({ bytes, chunks, end: () => peer.end() })
      },
      onBroken: fail,
    })
    peer.whenJoined(() => peer.request(documentId))
  })
}

/** Sends the pending changes, one message each, and waits until another peer has them. */
async function write(spec: JoinSpec, large: LargeRepoDocument, documentId: string): Promise<void> {
  const [writer] = await joinPeers(1, () => new RepoPeer({ ...spec, name: 'writer', onBroken() {} }))
  for (const { head, bytes } of pendingChangesOf(large)) writer!.sync(documentId, [head], [bytes])
  const reader = await comeAsNewcomer(spec, 'reader', documentId, large.pendingHead, false)
  for (const each of [writer!, reader]) each.end()
}

/** The table becomes a stored document. */
export async function repoStore(spec: StoreSpec): Promise<LoadResult> {
  const large = spec.repo!
  const errors: string[] = []
  const documentId = documentIdOf(spec.document)
  let isAnswered = false
  const [writer] = await joinPeers(
    1,
    () =>
      new RepoPeer({
        ...spec,
        name: 'writer',
        onSync(_, { heads }) {
          isAnswered ||= heads.some((head) => Buffer.from(head).toString('hex') === large.head)
        },
        onBroken: (reason) => errors.push(reason),
      }),
  )
  for (const { head, bytes } of tableChangesOf(large)) writer!.sync(documentId, [head], [bytes])
  if (!(await until(() => isAnswered || errors.length > 0, storedDeadlineMs)))
    errors.push('the table was never taken')
  if (spec.metricsUrl === null) await sleep(storedBlindlyMs)
  else if (!(await isCompacted(spec.metricsUrl, () => errors.length > 0))) errors.push('never compacted')
  writer!.end()
  return { cases: [{ name: '', figures: {} }], errors }
}
