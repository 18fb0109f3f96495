/**
 * How peers of automerge-repo tell where they are (../presence.ts): in ephemeral messages. Author and count stand behind a mark in the
 * message's data, so that nobody has to decode 250,000 a second.
 */
import { encode } from 'cborg'
import { typedChain } from '../automerge-changes.ts'
import { sleep, until } from '../peer.ts'
import type { OpenRoom } from '../presence.ts'
import { documentIdOf, joinPeers, RepoPeer } from './peer.ts'

const mark = Buffer.from('f4c9e1a73b5d8206', 'hex')
const answeredDeadlineMs = 15_000
const knownMs = 1_000

export const openEphemera: OpenRoom = async (spec, document, hear, onBroken) => {
  const { changes, heads } = typedChain(0)
  const documentId = documentIdOf(document)
  const isAnswered = new Uint8Array(spec.users)
  const receive = (receiver: number, bytes: Buffer, start: number, end: number): boolean => {
    const at = bytes.indexOf(mark, start)
    if (at < 0 || at >= end) return false
    const author = at + mark.length
    hear(receiver, bytes.readUInt16BE(author), bytes.readUInt32BE(author + 2))
    return true
  }
  const peers = await joinPeers(
    spec.users,
    (index) =>
      new RepoPeer({
        ...spec,
        name: `user-${index}`,
        onSync() {
          isAnswered[index] = 1
        },
        onFrame: (bytes, start, end) => receive(index, bytes, start, end),
        onBroken,
      }),
  )
  for (const peer of peers) peer.sync(documentId, [heads[0]!], changes)
  if (!(await until(() => isAnswered.every((answered) => answered === 1), answeredDeadlineMs)))
    onBroken('not everybody was answered')
  await sleep(knownMs)
  return {
    change: (user, count) => peers[user]!.ephemeral(documentId, count, stateOf(user, count)),
    end() {
      for (const peer of peers) peer.end()
    },
  }
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
