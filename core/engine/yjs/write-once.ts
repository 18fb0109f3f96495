/**
 * Guards a root map whose entries are written once, at the cost of the update, not of the document: of what is stored only
 * ranges of ids are kept, which are few, since what one client writes in a row is one range.
 *
 * A new entry of a Yjs map says its root and key itself. Whatever comes to the same key with knowledge of it names its
 * item as a neighbour instead, and whatever comes into the map in another way names one too or has no key; so it is enough
 * to know which ids are entries. What refers to ids that are not there could turn out to be either, once they are: it is
 * refused, as are deletes of what is not there yet. (Two entries of one key, written without knowing of each other, are told
 * by their keys, which is for the caller.)
 */
import * as Y from 'yjs'
import { TidemarkError } from '../../protocol/errors.ts'
import type { Examined, Write, WriteOnce } from '../engine.ts'
import { addRange, coversRange, overlapsRange, type Ranges } from './coverage.ts'
import { toValue } from './values.ts'

type RangesByClient = Map<number, Ranges>
type Decoded = ReturnType<typeof Y.decodeUpdate>
export class YjsWriteOnce implements WriteOnce {
  readonly written: readonly Write[]
  private readonly root: string
  private readonly known: RangesByClient = new Map()
  private readonly entries: RangesByClient = new Map()

  constructor(root: string, updates: readonly Uint8Array[]) {
    this.root = root
    this.written = updates.flatMap((update) => this.take(decode(update)))
  }

  examine(update: Uint8Array): Examined {
    const decoded = decode(update)
    const writes = this.writesOf(decoded)
    const accept = (): void => void this.take(decoded)
    return typeof writes === 'string'
      ? { refused: writes, writes: [], accept }
      : { refused: null, writes, accept }
  }

  /** Or why it must not be stored. */
  private writesOf(decoded: Decoded): Write[] | NonNullable<Examined['refused']> {
    const own: RangesByClient = new Map()
    const fresh: RangesByClient = new Map()
    const writes: Write[] = []
    for (const struct of decoded.structs) {
      if (struct instanceof Y.Skip) continue
      const { client, clock } = struct.id
      add(own, client, clock, struct.length)
      if (!this.isEntry(struct) || coversRange(this.known.get(client), clock, clock + struct.length)) continue
      const write = writeOf(struct)
      if (write === null) return 'no_entry'
      writes.push(write)
      add(fresh, client, clock, struct.length)
    }
    const isThere = (client: number, start: number, end: number): boolean =>
      coversRange(this.known.get(client), start, end) || coversRange(own.get(client), start, end)
    const isGuarded = (client: number, start: number, end: number): boolean =>
      overlapsRange(this.entries.get(client), start, end) || overlapsRange(fresh.get(client), start, end)
    for (const struct of decoded.structs) {
      if (!(struct instanceof Y.Item)) continue
      const { origin, rightOrigin, parent } = struct
      for (const id of [origin, rightOrigin, parent]) {
        if (!(id instanceof Y.ID)) continue
        if (!isThere(id.client, id.clock, id.clock + 1)) return 'incomplete'
        if (isGuarded(id.client, id.clock, id.clock + 1)) return 'rewrites'
      }
    }
    for (const [client, deletes] of decoded.ds.clients) {
      for (const { clock, len } of deletes) {
        if (isGuarded(client, clock, clock + len)) return 'deletes'
        if (!isThere(client, clock, clock + len)) return 'incomplete'
      }
    }
    return writes
  }

  private take({ structs }: Decoded): Write[] {
    const writes: Write[] = []
    for (const struct of structs) {
      if (struct instanceof Y.Skip) continue
      const { client, clock } = struct.id
      add(this.known, client, clock, struct.length)
      if (!this.isEntry(struct)) continue
      add(this.entries, client, clock, struct.length)
      const write = writeOf(struct)
      if (write !== null) writes.push(write)
    }
    return writes
  }

  private isEntry(struct: Y.GC | Y.Item): struct is Y.Item {
    return struct instanceof Y.Item && (struct.parent as unknown) === this.root
  }
}

/** Null for what is no entry with one plain value. */
function writeOf({ parentSub, content }: Y.Item): Write | null {
  if (parentSub === null || !(content instanceof Y.ContentAny) || content.arr.length !== 1) return null
  return [parentSub, toValue(content.arr[0])]
}

function add(all: RangesByClient, client: number, clock: number, length: number): void {
  const ranges = all.get(client)
  if (ranges === undefined) all.set(client, [clock, clock + length])
  else addRange(ranges, clock, clock + length)
}

function decode(update: Uint8Array): Decoded {
  try {
    return Y.decodeUpdate(update)
  } catch (error) {
    throw new TidemarkError('document_unreadable', 'Yjs cannot read a stored update', { cause: error })
  }
}
