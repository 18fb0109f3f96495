/**
 * What peers of automerge-repo tell each other of how far they are in a document ("remote heads"), through the server: a peer names
 * storages whose heads it wants to hear of, and whoever has one of these tells, as long as somebody wants to know.
 *
 *   w [storage…]                  somebody wants to know; said when a subscription or a document begins, and again every while
 *   h [storage, time, head…]      told by the session of that storage's peer; passed on to who has subscribed
 *
 * Both go to all sessions of the room, on other nodes too, and may be lost. Nobody wants to know nearly always, and then nothing is
 * said. Heads are told by the peer they are of and by nobody else: what a peer says of others is not passed on.
 */
import { createHash } from 'node:crypto'
import { remoteHeadsMessage, type Untargeted } from '../../core/protocol/automerge-repo.ts'

export const isAboutHeads = (payload: string): boolean => payload[0] === 'w' || payload[0] === 'h'

const wantedMs = 600_000
const wantsAgainMs = wantedMs / 2

export interface RemoteHeadsParts {
  /** The peer's own; null: it keeps nothing. */
  readonly storageId: string | null
  /** The peer's; may change. */
  readonly subscriptions: ReadonlySet<string>
  /** Of the message that the peer is sent. */
  readonly serverId: string
  readonly documentId: string
  /** To all other sessions of the document. */
  readonly send: (payload: string) => void
}

export class RemoteHeads {
  private readonly parts: RemoteHeadsParts
  private heads: readonly Uint8Array[] = []
  private wantedUntilMs = 0
  private wantedMs = 0

  constructor(parts: RemoteHeadsParts) {
    this.parts = parts
  }

  /** The peer has named storages, or opened the document. */
  subscribed(storageIds: Iterable<string>): void {
    const wanted = [...storageIds]
    this.wantedMs = Date.now()
    if (wanted.length > 0) this.parts.send(`w${JSON.stringify(wanted)}`)
  }

  beat(nowMs: number): void {
    if (nowMs - this.wantedMs >= wantsAgainMs) this.subscribed(this.parts.subscriptions)
  }

  /** The peer says how far it is. */
  changed(heads: readonly Uint8Array[]): void {
    const same = heads.length === this.heads.length && heads.every((head, i) => equal(head, this.heads[i]!))
    if (same || heads.length > headsMax) return
    // A copy: what came is a view of a frame.
    this.heads = heads.map((head) => head.slice())
    if (Date.now() < this.wantedUntilMs) this.tell()
  }

  /** What another session has said, as a message for the peer, or null. */
  hear(payload: string): Untargeted | null {
    const said = saidIn(payload)
    const { storageId, subscriptions, serverId, documentId } = this.parts
    if (payload[0] === 'w') {
      if (storageId === null || !said.includes(storageId)) return null
      this.wantedUntilMs = Date.now() + wantedMs
      this.tell()
      return null
    }
    const [of, time, ...heads] = said
    if (of === undefined || !subscriptions.has(of)) return null
    return remoteHeadsMessage(serverId, documentId, { [of]: { heads, timestamp: Number(time) } })
  }

  private tell(): void {
    const { storageId, send } = this.parts
    if (this.heads.length === 0 || storageId === null) return
    send(`h${JSON.stringify([storageId, String(Date.now()), ...this.heads.map(base58check)])}`)
  }
}

const headsMax = 100

function saidIn(payload: string): readonly string[] {
  try {
    return JSON.parse(payload.slice(1)) as string[]
  } catch {
    // A node of another version may say what this one cannot read: it is lost, as it may be.
    return []
  }
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

/** As these clients write hashes: with the first bytes of the SHA-256 of the SHA-256, to the base of 58. */
export function base58check(bytes: Uint8Array): string {
  const once = createHash('sha256').update(bytes).digest()
  const checksum = createHash('sha256').update(once).digest().subarray(0, 4)
  const checked = Buffer.concat([bytes, checksum])
  let rest = BigInt(`0x${checked.toString('hex')}`)
  let digits = ''
  for (; rest > 0n; rest /= 58n) digits = alphabet[Number(rest % 58n)]! + digits
  const zeros = checked.findIndex((byte) => byte !== 0)
  return '1'.repeat(zeros < 0 ? checked.length : zeros) + digits
}
