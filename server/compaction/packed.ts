/**
 * Updates on their way to a worker, in one buffer that is handed over and not copied. A view into a
 * larger buffer must never be posted as it is: structured cloning copies all that lies beneath it.
 */
export interface Packed {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly lengths: readonly number[]
}

export function pack(updates: readonly Uint8Array[]): Packed {
  const lengths = updates.map((update) => update.length)
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0))
  let position = 0
  for (const update of updates) {
    bytes.set(update, position)
    position += update.length
  }
  return { bytes, lengths }
}

export function unpack(packed: Packed): Uint8Array[] {
  let position = 0
  return packed.lengths.map((length) => {
    position += length
    return packed.bytes.subarray(position - length, position)
  })
}
