/** Commits batches to the embedded database of a folder until it is killed; writes the number of each that is committed. */
import { writeSync } from 'node:fs'
import { EmbeddedSql } from '../../../dist/server/views/sql/embedded-sql.js'

const quiet = () => {}
const sql = new EmbeddedSql({
  folder: process.argv[2],
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
})
await sql.batch([
  { text: 'create table if not exists first_half (id bigint primary key, text text)' },
  { text: 'create table if not exists second_half (id bigint primary key, text text)' },
])
const [{ rows }] = await sql.batch([{ text: 'select coalesce(max(id), 0) from first_half' }])
for (let id = Number(rows[0][0]) + 1; ; id++) {
  const insert = (table) => ({
    text: `insert into ${table} values ($1, repeat('x', 1000))`,
    parameters: [id],
  })
  await sql.batch([insert('first_half'), insert('second_half')])
  writeSync(1, `${id}\n`)
}
