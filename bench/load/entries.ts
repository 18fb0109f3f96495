/**
 * Documents with a map of entries, as updates that real Y.Docs made. All documents of a load are alike, so each update is
 * made once; when an edit leaves, the time is written into its bytes, and so stands in the row.
 */
import * as Y from 'yjs'
import { mapName } from '../adapters/entries-adapter.ts'

/** Neither an integer nor exact in 32 bits: it is encoded as eight bytes, to be written over. */
const placeholder = 1_234_567_890_123.456
const words = 'the tide comes in twice a day and leaves its mark'

export interface Entry {
  readonly text: string
  readonly done: boolean
  /** Milliseconds since 1970; 0: was not measured. */
  readonly sent: number
}

export interface Edit {
  readonly update: Uint8Array
  /** Where its time is to be written. */
  readonly sentAt: readonly number[]
}

export class EntriesDocument {
  private readonly doc = new Y.Doc()
  private readonly map: Y.Map<Entry>
  private last: Uint8Array = new Uint8Array()

  constructor() {
    this.doc.clientID = 1_700_000_000
    this.map = this.doc.getMap(mapName)
    this.doc.on('update', (update: Uint8Array) => {
      this.last = update
    })
  }

  /** Sets entries `from` to `to`, in one update; whether they are there already makes no difference. */
  set(from: number, to: number, isMeasured: boolean): Edit {
    this.doc.transact(() => {
      for (let i = from; i < to; i++)
        this.map.set(keyOf(i), {
          text: `${words} ${i}`,
          done: i % 2 === 0,
          sent: isMeasured ? placeholder : 0,
        })
    })
    const update = this.last
    return { update, sentAt: isMeasured ? placesIn(update) : [] }
  }
}

export const keyOf = (index: number): string => `entry-${index}`

export function rowOf(document: string, index: number): Entry & { document: string; entry: string } {
  return { document, entry: keyOf(index), text: `${words} ${index}`, done: index % 2 === 0, sent: 0 }
}

const placeholderBytes = Buffer.alloc(8)
placeholderBytes.writeDoubleBE(placeholder)

function placesIn(update: Uint8Array): number[] {
  const bytes = Buffer.from(update.buffer, update.byteOffset, update.length)
  const places: number[] = []
  for (let at = bytes.indexOf(placeholderBytes); at >= 0; at = bytes.indexOf(placeholderBytes, at + 8))
    places.push(at)
  if (places.length === 0) throw new Error('the update has no place for its time')
  return places
}

/** Valid until the edit is stamped again. */
export function stamped({ update, sentAt }: Edit, ms: number): Uint8Array {
  const view = new DataView(update.buffer, update.byteOffset, update.length)
  for (const at of sentAt) view.setFloat64(at, ms)
  return update
}

/** Milliseconds since 1970 in steps finer than `Date.now`, which is what the databases' clocks are compared with. */
export function wallClock(): () => number {
  const edge = Date.now() + 1
  let now = Date.now()
  while (now < edge) now = Date.now()
  const offset = now - performance.now()
  return () => offset + performance.now()
}
