/**
 * The peers of automerge-repo that are connected to this node, by their user and the name that they gave themselves. One that joins
 * again takes the place of its former self: its old socket is a dead one, nearly always, that nobody has noticed yet. Nobody
 * takes the place of another user's.
 */

/** Documents that a peer had, as it calls them; and whether it takes whole ones. */
export type Had = ReadonlyMap<string, boolean>

const nothing: Had = new Map()

export interface Peer {
  /** Another one has its name. Returns what it had. */
  superseded(): Had
}

export class Peers {
  private readonly byName = new Map<string, Peer>()

  /** Returns what its former self had. */
  enter(subject: string, peerId: string, peer: Peer): Had {
    const name = nameOf(subject, peerId)
    const former = this.byName.get(name)
    this.byName.set(name, peer)
    return former === undefined || former === peer ? nothing : former.superseded()
  }

  leave(subject: string, peerId: string, peer: Peer): void {
    const name = nameOf(subject, peerId)
    if (this.byName.get(name) === peer) this.byName.delete(name)
  }
}

const nameOf = (subject: string, peerId: string): string => JSON.stringify([subject, peerId])
