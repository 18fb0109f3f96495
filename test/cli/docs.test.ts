/** The commands of docs/import-export.md do what they say, in their order, as a shell reads them. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { dieTogether } from '../support/die-together.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import {
  makeAutomergeRepo,
  makeHocuspocusSqlite,
  makeYLevelDb,
  richDocument,
  richDocuments,
} from './databases.ts'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'tidemark-import-docs-'))
const page = readFileSync(join(root, 'docs/import-export.md'), 'utf8')
const commands = [...page.matchAll(/```sh\n(.*?)```/gs)]
  .flatMap(([, block = '']) => block.split('\n'))
  .filter((line) => line.startsWith('npx tidemark'))
let relay: RelayProcess

beforeAll(async () => {
  const path = (name: string): string => join(folder, name)
  await makeYLevelDb(path('yjs-documents'), richDocuments(['a', 'b']))
  makeHocuspocusSqlite(path('hocuspocus.sqlite'), richDocuments(['room:1', 'room:the 2nd']))
  await makeAutomergeRepo(path('automerge-repo-data'), [{ title: 'Wheat', bids: [] }])
  writeFileSync(path('harvest.yjs'), Y.encodeStateAsUpdate(richDocument(1)))
  writeFileSync(path('harvest.automerge'), Automerge.save(Automerge.from({ title: 'Rye' })))
  mkdirSync(path('files'))
  writeFileSync(path('files/one.yjs'), Y.encodeStateAsUpdate(richDocument(2)))
  relay = await startRelay({ DATA_DIR: path('data') })
})
afterAll(async () => {
  await relay.kill9()
  rmSync(folder, { recursive: true, force: true })
})

test('each of them ends with 0', async () => {
  expect(commands.length).toBeGreaterThan(12)
  const out = new Map<string, string>()
  for (const command of commands) {
    const { code, text } = await inShell(command.replace('npx tidemark', '"$NODE" "$MAIN"'))
    expect(`${command}\n${code}\n${code === 0 ? '' : text}`).toBe(`${command}\n0\n`)
    out.set(command, text)
  }
  const said = [...out].find(([command]) => command.includes('s/^room:'))?.[1]
  expect(said).toMatch(/^room:the 2nd -> rooms\/the-2nd {2}/m)
})

function inShell(line: string): Promise<{ code: number | null; text: string }> {
  const child = spawn('sh', ['-c', line], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      NODE: process.execPath,
      MAIN: join(root, 'dist/cli/main.js'),
      TIDEMARK_URL: relay.url,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  dieTogether(child)
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, text })))
}
