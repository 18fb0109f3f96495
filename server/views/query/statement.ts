/**
 * A query as it is sent: the user's statement in a frame that bounds it, so that no more than an answer ever leaves the
 * database.
 *
 *   select the columns, and whether there is more
 *   from (… with the running sum of what the rows take as text
 *     from (… the statement, from its place on, one row more than an answer has …))
 *   as long as rows and bytes are within bounds
 *
 * The frame's own names are random, so no column of the statement can stand for them. A first row that is larger than an
 * answer may be is an error, made by a cast that fails with the frame's name in it: nothing else would tell it from no rows.
 */
import { randomBytes } from 'node:crypto'
import type { Column, Result } from '../sql/sql.ts'

export interface Bounds {
  readonly place: number
  readonly rowsMax: number
  readonly bytesMax: number
}

const own = `t${randomBytes(9).toString('hex')}`
const before = `select * from (
  select ${own}.*, row_number() over ${own}w as ${own}n,
    sum(octet_length(${own}::text)) over ${own}w as ${own}size, lead(true) over ${own}w as ${own}more
  from (select * from (
`

export interface Framed {
  readonly text: string
  /** Characters before the statement. */
  readonly statementStart: number
}

export function framed(statement: string, { place, rowsMax, bytesMax }: Bounds): Framed {
  return {
    text: `${before}${statement}
  ) as ${own} offset ${place} limit ${rowsMax + 1}) as ${own}
  window ${own}w as (rows unbounded preceding)) as ${own}
  where ${own}n <= ${rowsMax}
    and (${own}size <= ${bytesMax} or ${own}n = 1 and ('${own}' || ${own}n)::int = 0)`,
    statementStart: before.length,
  }
}

/** What the frame added. */
const ownColumns = 3

export interface Page {
  readonly columns: readonly Column[]
  readonly rows: Result['rows']
  readonly hasMore: boolean
}

export function pageOf({ columns, rows }: Result): Page {
  const more = rows.at(-1)?.at(-1)
  return {
    columns: columns.slice(0, -ownColumns),
    // What follows the statement's own values is not looked at.
    rows,
    hasMore: more === 't',
  }
}

/** Whether the message is the frame's, of a row that is too large. */
export const isTooLarge = (message: string): boolean => message.includes(own)
