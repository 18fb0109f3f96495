/** What a relay has comes out: as bytes, as JSON, as history. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { richDocument } from './databases.ts'
import { runCli } from './run-cli.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-export-test-'))
let relay: RelayProcess

beforeAll(async () => {
  relay = await startRelay({ DATA_DIR: join(folder, 'data') })
  for (let i = 1; i <= 3; i++) await push(`deals/${i}`, richDocument(i))
})
afterAll(async () => {
  await relay.kill9()
  rmSync(folder, { recursive: true, force: true })
})

async function push(id: string, doc: Y.Doc): Promise<void> {
  const response = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(id)}/updates`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: Y.encodeStateAsUpdate(doc) as BodyInit,
  })
  expect(response.ok).toBe(true)
}

const cli = (...parameters: string[]) => runCli(['export', ...parameters, '--url', relay.url])

test('one document: its bytes into a file, what it says to stdout', async () => {
  const file = join(folder, 'one.yjs')
  expect(await cli('deals/1', '--output', file)).toMatchObject({ code: 0, stdout: '', stderr: '' })
  const doc = new Y.Doc()
  Y.applyUpdate(doc, new Uint8Array(readFileSync(file)))
  expect(doc.getText('text').toDelta()).toEqual(richDocument(1).getText('text').toDelta())
  const { code, stdout } = await cli('deals/1', '--format', 'json')
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ deal: { price: 1 }, notes: [{ nested: [1] }] })
})

test('the history of a document, a line for each entry, over more than a page', async () => {
  const doc = richDocument(50)
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  for (let i = 0; i < 1_050; i++) doc.getMap('m').set('k', i)
  const whole = Y.encodeStateAsUpdate(richDocument(50))
  for (let i = 0; i < updates.length; i += 50)
    await Promise.all(
      [...(i === 0 ? [whole] : []), ...updates.slice(i, i + 50)].map((update) =>
        fetch(`${relay.url}/v1/documents/long/updates`, {
          method: 'POST',
          headers: { 'content-type': 'application/octet-stream' },
          body: update as BodyInit,
        }),
      ),
    )
  const { code, stdout } = await cli('long', '--format', 'history')
  expect(code).toBe(0)
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  // Compaction may have made runs of some.
  const offsets = lines.flatMap((line) =>
    line['type'] === 'entry'
      ? [Number(line['offset'])]
      : Array.from(
          { length: Number(line['to']) - Number(line['from']) + 1 },
          (_, i) => Number(line['from']) + i,
        ),
  )
  expect(new Set(offsets).size).toBe(1_051)
  expect(lines[0]).toMatchObject(
    lines[0]!['type'] === 'entry' ? { author: '', time: expect.any(String) } : { authors: [''] },
  )
})

test('a prefix into a folder, in every form; the next time only what has changed', async () => {
  const out = join(folder, 'out')
  for (const format of ['update', 'json', 'history'])
    expect(await cli('--prefix', 'deals/', '--format', format, '--output', out)).toMatchObject({ code: 0 })
  expect(readdirSync(join(out, 'deals')).sort()).toEqual(
    [1, 2, 3].flatMap((i) => [`${i}.history.ndjson`, `${i}.json`, `${i}.yjs`]),
  )
  expect(JSON.parse(readFileSync(join(out, 'deals/2.json'), 'utf8'))).toMatchObject({ deal: { price: 2 } })

  const changed = richDocument(2)
  changed.getMap('deal').set('price', 22)
  await push('deals/2', changed)
  writeFileSync(join(out, 'deals/3.yjs'), 'cut off')
  for (const [format, says] of [
    ['update', /^2 documents .*, 1 unchanged\.$/m],
    ['json', /^1 document .*, 2 unchanged\.$/m],
    ['history', /^1 document .*, 2 unchanged\.$/m],
  ] as const)
    expect((await cli('--prefix', 'deals/', '--format', format, '--output', out)).stderr).toMatch(says)
  const doc = new Y.Doc()
  Y.applyUpdate(doc, new Uint8Array(readFileSync(join(out, 'deals/2.yjs'))))
  expect(doc.getMap('deal').get('price')).toBe(22)
})

test('a file that is not what was exported is not imported', async () => {
  const out = join(folder, 'damaged')
  expect(await cli('--prefix', 'deals/', '--output', out)).toMatchObject({ code: 0 })
  writeFileSync(join(out, 'deals/1.yjs'), Y.encodeStateAsUpdate(richDocument(77)))
  const { code, stderr } = await runCli(['import', out, '--map', 's/deals/again/', '--url', relay.url])
  expect(stderr).toMatch(/^failed {2}deals\/1: deals\/1\.yjs is not what was exported$/m)
  expect(stderr).toMatch(/^2 documents .* 1 failed\.$/m)
  expect(code).toBe(1)
})

test('a document that is not there is said, and the others come', async () => {
  const { code, stderr } = await cli('deals/1', 'deals/none', '--output', join(folder, 'some'))
  expect(stderr).toMatch(/^failed {2}deals\/none: There is no such document/m)
  expect(stderr).toMatch(/^1 document .* 1 failed\.$/m)
  expect(code).toBe(1)
})
