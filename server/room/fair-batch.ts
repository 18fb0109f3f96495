/**
 * Which of the updates that wait are appended next, when they are too many for one append: one of each sender in turn, so
 * that whoever types does not wait behind everybody who pastes. A sender's own stay in their order.
 */
interface Waiting {
  readonly from: object
  readonly update: Uint8Array
}

/** At least one, and no more once there are `bytesMax`. Both parts keep each sender's order; `rest` is in the order of arrival. */
export function takeFairly<T extends Waiting>(
  waiting: readonly T[],
  bytesMax: number,
): { readonly batch: T[]; readonly rest: T[] } {
  let waitingBytes = 0
  for (const { update } of waiting) waitingBytes += update.length
  if (waitingBytes <= bytesMax) return { batch: [...waiting], rest: [] }
  const turns = new Map<object, T[]>()
  for (const each of waiting) {
    const own = turns.get(each.from)
    if (own === undefined) turns.set(each.from, [each])
    else own.push(each)
  }
  const batch: T[] = []
  let bytes = 0
  for (let round = 0; bytes < bytesMax && batch.length < waiting.length; round++)
    for (const own of turns.values()) {
      const next = own[round]
      if (next === undefined) continue
      batch.push(next)
      bytes += next.update.length
      if (bytes >= bytesMax) break
    }
  const taken = new Set(batch)
  return { batch, rest: waiting.filter((each) => !taken.has(each)) }
}
