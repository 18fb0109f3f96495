/**
 * How peers of automerge-repo are idle (../idle.ts). A server knows of no document that nobody has, so each is made with a change that
 * leaves it empty but for a text; a session counts when the server has answered to it.
 */
import { typedChain } from '../automerge-changes.ts'
import type { OpenIdle } from '../idle.ts'
import type { IdleSpec } from '../spec.ts'
import { documentIdOf, RepoPeer } from './peer.ts'

export function openIdleRepoPeer(spec: IdleSpec): OpenIdle {
  const { changes, heads } = typedChain(0)
  return (index, document, { onAnswered, onBroken }) => {
    const peer = new RepoPeer({ ...spec, name: `idle-${index}`, onSync: onAnswered, onBroken })
    peer.whenJoined(() => peer.sync(documentIdOf(document), [heads[0]!], changes))
    return () => peer.end()
  }
}
