/**
 * What a `change` of a live query does to the rows that there are: takes away what is removed or changed, then puts in what
 * was added and changed, each at its place. The same list comes out that the server has, in its order, or an error that
 * says that the two do not fit: then the rows are asked for anew.
 */
import { TidemarkError } from './error-codes.ts'
import type { LiveChange, LiveRow, PlacedRow } from './query.ts'

/** Rows that are not named stay the same objects. Throws `malformed_frame`. */
export function apply(rows: readonly LiveRow[], change: LiveChange): LiveRow[] {
  const away = new Set([...change.removed, ...change.changed.map(({ key }) => key)])
  if (away.size !== change.removed.length + change.changed.length) throw unfit('names a key twice')
  const kept = rows.filter(({ key }) => !away.has(key))
  if (kept.length !== rows.length - away.size) throw unfit('names a row that is not there')
  const placed = [...change.added, ...change.changed].sort((a, b) => a.at - b.at)
  return merged(kept, placed)
}

function merged(kept: readonly LiveRow[], placed: readonly PlacedRow[]): LiveRow[] {
  const rows: LiveRow[] = []
  const keys = new Set<string>()
  let next = 0
  const put = (key: string, row: LiveRow): void => {
    keys.add(key)
    rows.push(row)
  }
  for (const { key, row, at } of placed) {
    while (rows.length < at && next < kept.length) put(kept[next]!.key, kept[next++]!)
    if (rows.length !== at) throw unfit('leaves a gap')
    put(key, { key, row })
  }
  for (const one of kept.slice(next)) put(one.key, one)
  if (keys.size !== rows.length) throw unfit('adds a row that is there')
  return rows
}

const unfit = (what: string): TidemarkError =>
  new TidemarkError('malformed_frame', `The change ${what}: it is not one of these rows`)
