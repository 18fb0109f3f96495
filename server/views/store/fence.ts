/** First of the statements of whoever writes for parts that it holds: another node's by now, and nothing is written. */
import type { Statement } from '../sql/sql.ts'

/** `fences` by part; at least one. Fails with `rowsUnexpected`. Shared locks: who takes a part waits for this transaction. */
export function fenceOf(fences: ReadonlyMap<number, number>): Statement {
  return {
    text: `select from tidemark.parts p join json_to_recordset($1::json) as f(part int, fence bigint)
      on p.part = f.part and p.fence = f.fence order by p.part for share of p`,
    parameters: [JSON.stringify([...fences].map(([part, fence]) => ({ part, fence })))],
    rowsExpected: fences.size,
  }
}
