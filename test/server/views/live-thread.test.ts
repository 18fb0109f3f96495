/** A live query whose thread is ended by an adapter that does not return: its listener hears what changed, and nothing of that. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { openIdentity } from '../../../server/access/grants.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import { Metrics } from '../../../server/metrics.ts'
import { rightsOf } from '../../../server/views/query/rights.ts'
import { Views } from '../../../server/views/views.ts'
import { collectingLogger } from '../../support/collecting-logger.ts'
import { start as startPostgres } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const adapter = `import { defineAdapter } from 'tidemark/adapter'
export default defineAdapter({
  name: 'notes',
  version: 1,
  documents: 'notes/:id',
  sql: 'create table notes (document text primary key, text text not null)',
  document(state) {
    const text: string = state.text('t').toString()
    while (text === 'loop');
    return { notes: [{ text }] }
  },
} as any)
`

test('the thread of the views ends and begins anew: who listens hears what changed', async () => {
  const postgres = await startPostgres()
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  mkdirSync(join(folder, 'adapters'))
  writeFileSync(join(folder, 'adapters', 'notes.ts'), adapter)
  const log = createEmbeddedLog({ directory: join(folder, 'log'), logger: silentLogger })
  await log.start()
  const logger = collectingLogger()
  const views = new Views({
    log,
    decide: () => Promise.reject(new Error('not asked')),
    settings: {
      folder: join(folder, 'adapters'),
      databaseUrl: postgres.url,
      dataFolder: join(folder, 'views'),
      connectionsMax: 4,
      queries: {
        readerUrl: null,
        afterTimeoutMs: 1_000,
        limits: { timeoutMs: 5_000, rowsMax: 100, bytesMax: 10_000, runningMax: 2, perUserMax: 2 },
      },
      memoryMb: 256,
      port: 0,
    },
    logger,
    metrics: new Metrics(),
    projectionMsMax: 500,
  })
  const say = async (document: string, text: string): Promise<void> => {
    const doc = new Y.Doc()
    doc.getText('t').insert(0, text)
    const update = Y.encodeStateAsUpdate(doc)
    await log.append(document as DocumentId, [{ timeMs: 1, author: '', origin: 'o', update }])
    views.wake()
  }
  const events: string[] = []
  const ends: string[] = []
  const sink = {
    event: (bytes: Uint8Array): boolean => events.push(new TextDecoder().decode(bytes)) > 0,
    current: () => undefined,
    end: (code: string): void => {
      ends.push(code)
    },
  }
  const query = {
    sql: 'select document, text from notes order by document',
    params: [],
    key: null,
    rights: rightsOf(openIdentity),
  }
  try {
    await views.start()
    // Until there are tables and roles it is refused, as by HTTP.
    await until('it listens', async () => {
      if (events.length > 0) return true
      if (views.live.size === 0) views.live.open(query, null, sink)
      return false
    })
    ends.length = 0
    await say('notes/a', 'one')
    await until('the first', () => events.at(-1)?.includes('one') === true)
    await say('notes/loop', 'loop')
    const restarted = 'the thread of the views ended; it is started anew'
    await until('the thread ends', () => logger.lines.some(({ message }) => message === restarted))
    await say('notes/b', 'two')
    await until('the second', () => events.at(-1)?.includes('two') === true)
    expect(events.every((event) => /^id: \S+\nevent: (rows|change)\n/.test(event))).toBe(true)
    expect(ends).toEqual([])
    views.live.open({ ...query, sql: 'select 1 as one' }, null, sink)
    await until('another one', () => events.at(-1)?.includes('"one":1') === true)
  } finally {
    await views.close()
    await log.close()
    rmSync(folder, { recursive: true })
    await postgres.stop()
  }
  expect(ends).toEqual(['shutting_down', 'shutting_down'])
})
