/**
 * A long tail of small updates, merged, so that joiners with different versions do not each pay for thousands
 * of scans: 10,000 keystrokes cost 40 ms a join, condensed 0.3 ms.
 *
 *   tail       = batch batch … batch rest          -- a batch is `batchCount` updates, the rest is shorter
 *   condensed  = merged large… rest                -- the small ones of all batches, the large ones as they are
 *
 * Large updates stay apart: scans of them are remembered, and merging them again and again would copy them.
 * The order changes, which no join depends on: an update says what it says wherever it stands. Remembered
 * by the tail's array, which may grow at its end (a room's does, with every entry) and must not change otherwise.
 */
import { rememberedScanBytesMin } from './scan.ts'
import { merge } from './splice.ts'

const batchCount = 256

interface Condensed {
  /** How much of the tail is in it. */
  count: number
  merged: Uint8Array | null
  readonly large: Uint8Array[]
}

const known = new WeakMap<readonly Uint8Array[], Condensed>()

export function condensed(tail: readonly Uint8Array[]): readonly Uint8Array[] {
  if (tail.length < batchCount) return tail
  let state = known.get(tail)
  if (state === undefined) {
    state = { count: 0, merged: null, large: [] }
    known.set(tail, state)
  }
  if (tail.length - state.count >= batchCount) condense(tail, state)
  const rest = tail.slice(state.count)
  return state.merged === null ? [...state.large, ...rest] : [state.merged, ...state.large, ...rest]
}

/** Batch by batch, so that what a scan leaves behind is garbage soon: half the time of one merge of all. */
function condense(tail: readonly Uint8Array[], state: Condensed): void {
  const merged = state.merged === null ? [] : [state.merged]
  while (tail.length - state.count >= batchCount) {
    const batch = tail.slice(state.count, state.count + batchCount)
    const small = batch.filter((update) => update.length < rememberedScanBytesMin)
    for (const update of batch) if (update.length >= rememberedScanBytesMin) state.large.push(update)
    if (small.length > 0) merged.push(merge(small))
    state.count += batchCount
  }
  state.merged = merged.length === 0 ? null : merged.length === 1 ? merged[0]! : merge(merged)
}
