/** An import that is ended in the middle, at a moment of which nobody can tell whether a push arrived, is made again. */
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'
import { makeHocuspocusSqlite, richDocuments } from './databases.ts'
import { type RelayProxy, startProxy } from './proxy.ts'
import { type Running, runCli, startCli } from './run-cli.ts'

const documentCount = 12
const doneBefore = 5
const root = mkdtempSync(join(tmpdir(), 'tidemark-import-ended-'))
/** What is killed leaves its view of the source behind: with all else of the test. */
const environment = { TMPDIR: root }
let relay: RelayProcess
let proxy: RelayProxy
let folder: string
let file: string
let made = 0
/** The answer to the push after `doneBefore` is kept back until this is called. */
let open: () => void

beforeAll(async () => {
  relay = await startRelay({ DATA_DIR: join(root, 'data') })
})
afterAll(async () => {
  await relay.kill9()
  rmSync(root, { recursive: true, force: true })
})
beforeEach(async () => {
  folder = join(root, `source-${made++}`)
  mkdirSync(folder)
  file = join(folder, 'db')
  makeHocuspocusSqlite(file, richDocuments(Array.from({ length: documentCount }, (_, i) => `d${made}/${i}`)))
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  proxy = await startProxy(() => relay.url, {
    answering: (push) => (push === doneBefore + 1 ? opened : Promise.resolve()),
  })
})
afterEach(() => proxy.close())

const parameters = (): string[] => [
  'import',
  file,
  '--url',
  proxy.url,
  '--concurrency',
  '1',
  '--retries',
  '30',
]

async function startedAndHeld(): Promise<Running> {
  const running = startCli(parameters(), environment)
  await until('a push has no answer', () => proxy.pushed() === doneBefore + 1)
  return running
}

const journal = (): string[] => readFileSync(`${file}.tidemark-import`, 'utf8').trimEnd().split('\n')

test('by kill -9: it goes on where it was, and the relay has every document once', async () => {
  const running = await startedAndHeld()
  running.child.kill('SIGKILL')
  await running.ended
  expect(journal()).toHaveLength(doneBefore)
  // The last line, as a kill in the middle of a write leaves it.
  appendFileSync(`${file}.tidemark-import`, '{"relay":"htt')
  open()
  const { code, stderr } = await runCli(parameters(), environment)
  expect(stderr).toMatch(
    new RegExp(`^${documentCount - doneBefore} documents .* ${doneBefore} done before\\.\n$`),
  )
  expect(code).toBe(0)
  expect(readdirSync(folder)).toEqual(['db'])
  for (let i = 0; i < documentCount; i++) {
    const history = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(`d${made}/${i}`)}/history`)
    expect(((await history.json()) as { entries: unknown[] }).entries).toHaveLength(1)
  }
})

test('what the journal says is done is done again when the relay has lost it', async () => {
  const running = await startedAndHeld()
  running.child.kill('SIGKILL')
  await running.ended
  open()
  const id = encodeURIComponent(`d${made}/0`)
  expect((await fetch(`${relay.url}/v1/documents/${id}`, { method: 'DELETE' })).status).toBe(204)
  expect((await fetch(`${relay.url}/v1/documents/${id}`, { method: 'PUT' })).status).toBe(201)
  const { code, stderr } = await runCli(parameters(), environment)
  // Its replica is one of the life that was deleted.
  expect(stderr).toMatch(new RegExp(`^failed {2}d${made}/0: .*\\(stale_replica\\)$`, 'm'))
  expect(stderr).toMatch(new RegExp(` ${doneBefore - 1} done before`))
  expect(code).toBe(1)
})

test('by the one who began it: it says so, and how to go on', async () => {
  const running = await startedAndHeld()
  running.child.kill('SIGINT')
  const { code, stderr } = await running.ended
  expect(stderr).toMatch(new RegExp(`^${doneBefore} documents .*\\. Ended early: interrupted\\.$`, 'm'))
  expect(stderr).toMatch(/^The same command goes on from here: /m)
  expect(code).toBe(1)
  open()
  expect(await runCli(parameters(), environment)).toMatchObject({ code: 0 })
})

test('because its source was written to meanwhile: it is not taken for whole', async () => {
  const running = await startedAndHeld()
  appendFileSync(file, 'more')
  open()
  const { code, stderr } = await running.ended
  expect(stderr).toContain('the source was written to while it was read')
  expect(code).toBe(1)
})

test('not at all when its relay is killed and comes back', async () => {
  const running = await startedAndHeld()
  const data = join(root, 'data')
  await relay.kill9()
  proxy.close()
  await until('it waits', () => running.said().includes('waiting: No relay answers'))
  relay = await startRelay({ DATA_DIR: data })
  const port = Number(new URL(proxy.url).port)
  proxy = await startProxy(() => relay.url, {}, port)
  const { code, stderr } = await running.ended
  expect(stderr).toMatch(new RegExp(`^${documentCount} documents .* compared\\.$`, 'm'))
  expect(code).toBe(0)
  const last = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(`d${made}/${documentCount - 1}`)}`)
  expect(await last.json()).toMatchObject({ deal: { price: documentCount } })
})
