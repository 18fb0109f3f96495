/**
 * Projects the embedded log of a folder until all is done, or until it kills itself: at a place within one of its batches.
 *
 *   node views-projector.mjs FOLDER DATABASE_URL|embedded SEED KIND NTH POSITION
 *
 * First it appends random edits, some of them twice; with SEED 9 it begins a rebuild, which is filled from then on. KIND `write`: batches that write rows; `other`: all the rest; `none`: it is not
 * killed. Of the NTH such batch, at POSITION: 0 before anything was sent, k when k statements were executed and nothing is committed,
 * one more than there are: committed, and not known. Prints `beyond` when the batch has no such position; `done` at the end.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import * as Y from 'yjs'
import { defineAdapter } from '../../dist/core/domain/index.js'
import { statement } from '../../dist/server/log/lineage.js'
import { createEmbeddedLog } from '../../dist/server/log/lmdb/embedded-log.js'
import { LiveDocuments } from '../../dist/server/views/live-documents.js'
import { partCount } from '../../dist/server/views/parts.js'
import { Pending } from '../../dist/server/views/pending.js'
import { Projector } from '../../dist/server/views/projector.js'
import { EmbeddedSql } from '../../dist/server/views/sql/embedded-sql.js'
import { PostgresSql } from '../../dist/server/views/sql/postgres-sql.js'
import { SqlRowStore } from '../../dist/server/views/sql-row-store.js'
import { installTidemark } from '../../dist/server/views/store/schema.js'
import { Writer } from '../../dist/server/views/store/writer.js'
import { beginRebuild, cursorNameOf, isAt, place } from '../../dist/server/views/versions.js'

const [folder, database, seed, kind, nth, position] = process.argv.slice(2)
const quiet = () => {}
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet }
const isEmbedded = database === 'embedded'
const sql = isEmbedded
  ? new EmbeddedSql({ folder: join(folder, 'views'), logger })
  : new PostgresSql({ url: database, connectionsMax: 4, logger })

const deals = defineAdapter({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  sql: `create table deals (document text primary key, facts int);
    create table words (document text, position int, word text, primary key (document, position));
    create table facts (document text, entry text, value text, primary key (document, entry));
    create table lines (document text, entry text, n int, value text, primary key (document, entry, n));`,
  document: (state) => {
    const facts = state.map('facts')
    if (facts.get('k7') === 0) throw new Error('poisoned')
    const words = facts.keys().map((word, position) => ({ position, word }))
    return { deals: [{ facts: words.length }], words }
  },
  entries: {
    facts: { map: 'facts', rows: (_key, value) => [{ value: String(value) }] },
    lines: { list: 'lines', rows: (_key, value) => [1, 2].map((n) => ({ n, value: String(value * n) })) },
  },
})

/** Numbers from 0 to below `end`, the same for the same seed. */
let state = Number(seed) * 7_919 + 1
function random(end) {
  state = (state * 48_271) % 2_147_483_647
  return state % end
}

const log = createEmbeddedLog({ directory: join(folder, 'log'), logger })
await log.start()
await edit()

const reached = join(folder, 'views', 'database', 'reached')
rmSync(reached, { force: true })
const sayReached = `do $$ begin
  execute format('copy (select 1) to %L', current_setting('data_directory') || '/reached');
end $$`

async function until(isTrue) {
  const endMs = Date.now() + 60_000
  while (!isTrue()) {
    if (Date.now() > endMs) throw new Error('the statement was not reached')
    await new Promise((done) => setTimeout(done, 5))
  }
}

let batches = 0
const killing = {
  async batch(statements, options) {
    const own = statements.some(({ text }) => text.includes('into tidemark.progress')) ? 'write' : 'other'
    if (own !== kind || ++batches !== Number(nth)) return sql.batch(statements, options)
    const at = Number(position)
    if (at > statements.length + 1) {
      writeSync(1, 'beyond\n')
      return sql.batch(statements, options)
    }
    if (at > statements.length) await sql.batch(statements, options)
    else if (at > 0) {
      // PGlite cannot be told to fall over: it is busy when everything ends, and says so in a file.
      const end = isEmbedded
        ? [
            { text: sayReached, script: true },
            { text: 'select count(*) from generate_series(1, 100000000000)' },
          ]
        : [{ text: 'select pg_terminate_backend(pg_backend_pid())' }]
      const ending = sql.batch([...statements.slice(0, at), ...end], options).catch(quiet)
      await (isEmbedded ? until(() => existsSync(reached)) : ending)
    }
    process.kill(process.pid, 'SIGKILL')
    return new Promise(quiet)
  },
  unavailable: () => null,
}

await installTidemark(killing)
if (seed === '9') await beginRebuild(sql, deals)
const { placed } = await place(killing, [deals])
const writer = new Writer(killing)
for (const { schema, tables } of placed) writer.know(schema, tables)
const projector = new Projector({
  log,
  adapters: placed.map(({ adapter, schema }) => ({ ...adapter, name: schema })),
  documents: new LiveDocuments(log, { documentsMax: 4 }),
  visited: new LiveDocuments(log, { documentsMax: 1 }),
  pending: new Pending(),
  store: new SqlRowStore({ sql: killing, writer, placed, leaseMs: 5_000, isAlone: true }),
  logger,
  limits: { pollMs: 5, batchDocumentsMax: 3, batchRowsMax: 20, pageMax: 5 },
})
projector.start()
const end = (await log.changes(0, 1_000_000)).at(-1)?.sequence ?? 0
for (const each of placed)
  while (!(await isAt(sql, cursorNameOf(each), partCount, end)))
    await new Promise((done) => setTimeout(done, 10))
await projector.close()
await sql.close()
await log.close()
writeSync(1, 'done\n')

async function edit() {
  if (seed === '0') return
  for (let i = 0; i < 12; i++) {
    const id = `deals/${random(10)}`
    const loaded = await log.load(id)
    const doc = new Y.Doc()
    doc.clientID = randomBytes(4).readUInt32LE()
    for (const { kind, update } of loaded.tail)
      if ((kind ?? 'update') === 'update') Y.applyUpdate(doc, update)
    const version = Y.encodeStateVector(doc)
    const facts = doc.getMap('facts')
    const lines = doc.getArray('lines')
    doc.transact(() => {
      for (let n = 0; n < 3; n++) facts.set(`k${random(9)}`, random(4))
      if (random(2) === 0) facts.delete(`k${random(9)}`)
      lines.insert(random(lines.length + 1), [random(100)])
      if (lines.length > 3) lines.delete(random(lines.length), 1)
    })
    const entry = { timeMs: 1, author: '', origin: 'o', update: Y.encodeStateAsUpdate(doc, version) }
    await log.append(id, random(4) === 0 ? [entry, entry] : [entry])
  }
  if (random(6) === 0)
    await log.append(`deals/${random(10)}`, [statement('removal', { timeMs: 1, author: '', origin: 'o' })])
}
