/** Writes a document's rows, offset after offset, into the embedded database of a folder until it is killed; says each. */
import { writeSync } from 'node:fs'
import { EmbeddedSql } from '../../../dist/server/views/sql/embedded-sql.js'
import { installAdapter, installedVersion, installTidemark } from '../../../dist/server/views/store/schema.js'
import { readTables } from '../../../dist/server/views/store/tables.js'
import { Writer } from '../../../dist/server/views/store/writer.js'

const quiet = () => {}
const sql = new EmbeddedSql({
  folder: process.argv[2],
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
})
const schema = 'killed'
const adapter = {
  name: schema,
  version: 1,
  sql: `create table notes (document text primary key, title text);
    create table tasks (document text, id int, label text, primary key (document, id));`,
  entryTables: new Set(),
}
await installTidemark(sql)
const installed = (await installedVersion(sql, schema)) !== null
const tables = installed
  ? await readTables(sql, schema, adapter.entryTables)
  : await installAdapter(sql, schema, adapter)
const writer = new Writer(sql)
writer.know(schema, tables)
const text = `select coalesce(max("offset"), 0) from tidemark.progress where adapter = '${schema}'`
const [{ rows }] = await sql.batch([{ text }])
for (let offset = Number(rows[0][0]) + 1; ; offset++) {
  const document = 'd'
  const label = String(offset)
  const tasks = Array.from({ length: 50 }, (_, id) => ({ document, id, label }))
  await writer.write({
    documents: [
      {
        schema,
        document,
        progress: { epoch: 0, offset },
        replacements: [
          { table: 'notes', entries: null, rows: [{ document, title: label }] },
          { table: 'tasks', entries: null, rows: tasks },
        ],
      },
    ],
    dead: [],
    fences: new Map(),
    cursors: [{ name: 'views', part: 0, sequence: offset }],
    partCount: 16,
  })
  writeSync(1, `${offset}\n`)
}
