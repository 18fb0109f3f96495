/**
 * What became of one result of a query, as a `change` (core/protocol/query.ts): rows that are removed, added, and changed,
 * where a row that moved is changed too. `apply(old, difference(old, new))` is `new`, in order.
 *
 * As few rows as possible are named: those that stay are the longest run of equal rows that are in the same order in both
 * (a longest increasing subsequence, by patience), so a row that moves from the end to the beginning is one item, not all of
 * them. O(n log n).
 *
 * Rows are JSON texts: they are compared, counted and sent as such, and never parsed again.
 */

export interface KeyedRow {
  /** Each once in a result. */
  readonly key: string
  /** The row as JSON. */
  readonly text: string
}

export interface Placed {
  readonly row: KeyedRow
  readonly at: number
}

export interface Difference {
  /** Lowest place first, as `changed`. */
  readonly added: readonly Placed[]
  readonly changed: readonly Placed[]
  /** Keys. */
  readonly removed: readonly string[]
}

export function difference(old: readonly KeyedRow[], now: readonly KeyedRow[]): Difference {
  const before = new Map(old.map((row, at) => [row.key, { row, at }]))
  const added: Placed[] = []
  const changed: Placed[] = []
  /** Rows that are the same, but for their places. */
  const same: { readonly from: number; readonly placed: Placed }[] = []
  for (const [at, row] of now.entries()) {
    const was = before.get(row.key)
    before.delete(row.key)
    if (was === undefined) added.push({ row, at })
    else if (was.row.text !== row.text) changed.push({ row, at })
    else same.push({ from: was.at, placed: { row, at } })
  }
  const staying = longestIncreasing(same.map(({ from }) => from))
  const moved = same.filter((_, i) => !staying.has(i)).map(({ placed }) => placed)
  if (moved.length > 0) {
    changed.push(...moved)
    changed.sort((a, b) => a.at - b.at)
  }
  return { added, changed, removed: [...before.keys()] }
}

/** Indices of a longest increasing subsequence; no number is there twice. */
function longestIncreasing(numbers: readonly number[]): ReadonlySet<number> {
  /** By length − 1: the index of the lowest last number of an increasing subsequence of that length. */
  const ends: number[] = []
  const previous: number[] = []
  for (const [i, number] of numbers.entries()) {
    const length = firstNotBelow(ends, numbers, number)
    previous.push(length === 0 ? -1 : ends[length - 1]!)
    ends[length] = i
  }
  const chosen = new Set<number>()
  for (let i = ends.at(-1) ?? -1; i >= 0; i = previous[i]!) chosen.add(i)
  return chosen
}

function firstNotBelow(ends: readonly number[], numbers: readonly number[], number: number): number {
  // Most results are in the order that they had.
  if (ends.length === 0 || numbers[ends.at(-1)!]! < number) return ends.length
  let low = 0
  let high = ends.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (numbers[ends[middle]!]! < number) low = middle + 1
    else high = middle
  }
  return low
}
