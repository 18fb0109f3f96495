/** The tables of the notes: what PostgreSQL and PGlite make of their SQL, and of rows that try it hard. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { notes } from '../../adapters/notes.ts'
import { rowsOf } from '../../core/domain/rows-of.ts'
import { EmbeddedSql } from '../../server/views/sql/embedded-sql.ts'
import { PostgresSql } from '../../server/views/sql/postgres-sql.ts'
import type { Sql } from '../../server/views/sql/sql.ts'
import { start as startPostgres } from '../support/postgres-server.ts'
import { silentLogger } from '../support/silent-logger.ts'

const logger = silentLogger
const columns = ['document', 'title', 'text', 'words']
const ends: (() => unknown)[] = []
afterAll(async () => {
  for (const end of ends.reverse()) await end()
})

const drivers: Readonly<Record<string, () => Promise<Sql>>> = {
  PostgreSQL: async () => {
    const server = await startPostgres()
    ends.push(() => server.stop())
    return new PostgresSql({ url: server.url, connectionsMax: 2, logger })
  },
  PGlite: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-notes-'))
    ends.push(() => rmSync(folder, { recursive: true, force: true }))
    return new EmbeddedSql({ folder, logger })
  },
}

describe.each(Object.entries(drivers))('%s', (_, open) => {
  let sql: Sql

  const run = async (text: string, ...parameters: string[]): Promise<readonly (readonly unknown[])[]> =>
    (await sql.batch([{ text, parameters }], { searchPath: ['notes'] }))[0]?.rows ?? []

  const write = async (id: string, title: string, text: string): Promise<void> => {
    const doc = new Y.Doc()
    doc.getText('title').insert(0, title)
    const paragraph = new Y.XmlElement('paragraph')
    doc.getXmlFragment('body').push([paragraph])
    paragraph.push([new Y.XmlText(text)])
    const [row] = rowsOf(notes, id, [Y.encodeStateAsUpdate(doc)])['notes'] ?? []
    const values = columns.map((column) => String(row?.[column]))
    await run(`insert into notes (${columns}) values ($1, $2, $3, $4)`, ...values)
  }
  const search = async (query: string): Promise<unknown[]> => {
    const text = `select document from notes, to_tsquery('simple', $1) query where search @@ query
      order by ts_rank_cd(search, query) desc`
    return (await run(text, query)).map(([document]) => document)
  }

  test('are made, and take the longest text and the strangest words', async () => {
    sql = await open()
    await sql.start()
    ends.push(() => sql.close())
    await sql.batch([{ text: 'create schema notes' }, { text: notes.sql, script: true }], {
      searchPath: ['notes'],
    })
    // Every word another one, of four bytes a letter and with a host's parts: nothing takes more of an index entry.
    const words = Array.from({ length: 60_000 }, (_, i) => `${String.fromCodePoint(0x20000 + i)}𠀀`)
    const hosts = Array.from({ length: 20_000 }, (_, i) => `a${i}.example.com/p${i}/q-r-${i}`)
    await write('notes/words', 'Words', words.join(' '))
    await write('notes/hosts', 'Hosts', hosts.join(' '))
    await write('notes/long', 'x'.repeat(200_000), `${'y'.repeat(3_000_000)}\0'"\\:&|!()`)
    expect(await run('select count(*) from notes')).toEqual([['3']])
  })

  test('find beginnings of words in any language, titles before text', async () => {
    await write('notes/tide', 'Ebb', 'When the tides turn, Fähren nach Føhr')
    await write('notes/table', 'Tide table', 'Heights')
    expect(await search('tid:*')).toEqual(['notes/table', 'notes/tide'])
    expect(await search('fäh:* & føhr:*')).toEqual(['notes/tide'])
    expect(await search('tid:* & heigh:*')).toEqual(['notes/table'])
    expect(await search('ides:*')).toEqual([])
  })
})
