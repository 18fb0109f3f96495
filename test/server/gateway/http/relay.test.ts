/** The API as a relay serves it: JSON from its own threads, and a deletion that its compactor carries out. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type RelayProcess, startRelay } from '../../../support/relay-process.ts'
import { until } from '../../../support/wait.ts'
import { type Answer, call, pathOf, textUpdate } from './api-under-test.ts'

test('a document is written, read as JSON, deleted, and its content dropped; a killed relay knows it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  let relay: RelayProcess = await startRelay({ DATA_DIR: folder })
  const ask = (method: 'GET' | 'POST' | 'DELETE', rest = '', body?: Uint8Array): Promise<Answer> =>
    call(relay.url, method, pathOf('notes/first', rest), body === undefined ? {} : { body })
  try {
    expect(await ask('POST', '/updates', textUpdate('content'))).toMatchObject({
      status: 201,
      body: { offset: 1, durability: 'fsync' },
    })
    expect((await ask('GET')).body).toEqual({ t: 'content' })
    expect((await ask('DELETE')).status).toBe(204)
    await until('compacted', async () => (await ask('GET', '/history')).body.runs.length > 0)
    await relay.kill9()
    relay = await startRelay({ DATA_DIR: folder })
    expect((await ask('GET')).body.code).toBe('document_removed')
    expect((await ask('GET', '/history')).body.entries).toEqual([])
    expect((await ask('POST', '/updates', textUpdate('more'))).status).toBe(410)
  } finally {
    await relay.stop()
    rmSync(folder, { recursive: true })
  }
})
