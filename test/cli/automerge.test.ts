/** Automerge's documents: out of an automerge-repo's folder, made by it, or out of a file. */
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { type Deal, makeAutomergeRepo } from './databases.ts'
import { runCli } from './run-cli.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-automerge-test-'))
const repo = join(folder, 'repo')
let relay: RelayProcess
let documents: Map<string, Deal>

/** Large and unlike anything, so that automerge-repo keeps what comes later apart. */
const noise = (seed: number): string =>
  Array.from({ length: 60 }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest('hex')).join('')

beforeAll(async () => {
  const deals = Array.from({ length: 4 }, (_, i) => ({ title: noise(i), bids: [i, i + 1] }))
  documents = await makeAutomergeRepo(repo, deals)
  relay = await startRelay({ DATA_DIR: join(folder, 'data') })
})
afterAll(async () => {
  await relay.kill9()
  rmSync(folder, { recursive: true, force: true })
})

const cli = (...parameters: string[]) => runCli([...parameters, '--url', relay.url])

async function held(id: string): Promise<unknown> {
  const response = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(id)}/update`)
  expect(response.status).toBe(200)
  return Automerge.toJS(Automerge.load(new Uint8Array(await response.arrayBuffer())))
}

test("the folder of an automerge-repo comes in, under its documents' own ids, and out again", async () => {
  expect(readdirSync(repo, { recursive: true }).some((path) => String(path).includes('incremental'))).toBe(
    true,
  )
  const { code, stderr } = await cli('import', repo)
  expect(stderr).toMatch(/^4 documents \([\d,]+ bytes\) imported and compared\.\n$/)
  expect(code).toBe(0)
  for (const [id, deal] of documents) expect(await held(id)).toEqual(deal)

  const out = join(folder, 'out')
  expect(await cli('export', '--prefix', '', '--output', out)).toMatchObject({ code: 0 })
  for (const [id, deal] of documents)
    expect(
      Automerge.toJS(Automerge.load<Deal>(new Uint8Array(readFileSync(join(out, `${id}.automerge`))))),
    ).toEqual(deal)
  expect(await cli('import', out, '--prefix', 'again/')).toMatchObject({ code: 0 })
  for (const [id, deal] of documents) expect(await held(`again/${id}`)).toEqual(deal)
})

test('a damaged chunk fails its document, and the others come in', async () => {
  const sound = join(folder, 'sound')
  const broken = join(folder, 'broken')
  const ids = [
    ...(
      await makeAutomergeRepo(sound, [
        { title: noise(8), bids: [] },
        { title: noise(9), bids: [] },
      ])
    ).keys(),
  ]
  // A repo may write once more when it is told to end.
  cpSync(sound, broken, { recursive: true })
  const chunk = readdirSync(broken, { recursive: true, encoding: 'utf8' }).find((path) =>
    path.includes('incremental/'),
  )!
  const bytes = readFileSync(join(broken, chunk))
  bytes[bytes.length - 3]! ^= 1
  writeFileSync(join(broken, chunk), bytes)
  const { code, stderr } = await cli('import', broken)
  expect(stderr).toMatch(new RegExp(`^failed {2}${ids[1]}: .*\\(malformed_update\\)$`, 'm'))
  expect(stderr).toMatch(/^1 document .* 1 failed\.$/m)
  expect(code).toBe(1)
})

test('a file comes in, but not into a document of the other engine', async () => {
  const file = join(folder, 'deal.automerge')
  writeFileSync(
    file,
    Automerge.save(Automerge.from<Deal & Record<string, unknown>>({ title: 'Wheat', bids: [1] })),
  )
  expect(await cli('import', file, '--id', 'files/deal')).toMatchObject({ code: 0 })
  expect(await held('files/deal')).toEqual({ title: 'Wheat', bids: [1] })

  const doc = new Y.Doc()
  doc.getText('t').insert(0, 'Rye')
  writeFileSync(join(folder, 'other.yjs'), Y.encodeStateAsUpdate(doc))
  const { code, stderr } = await cli('import', join(folder, 'other.yjs'), '--id', 'files/deal')
  expect(stderr).toMatch(/^failed {2}other: /m)
  expect(code).toBe(1)
  expect(await held('files/deal')).toEqual({ title: 'Wheat', bids: [1] })
})
