/** The package as an app gets it: packed, unpacked elsewhere, imported and type-checked by each of its entry points. */
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, 'node_modules')
let app: string

beforeAll(() => {
  app = mkdtempSync(join(tmpdir(), 'tidemark-app-'))
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', app], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  const installed = join(app, 'node_modules')
  mkdirSync(installed)
  for (const name of readdirSync(modules))
    if (!name.startsWith('.')) symlinkSync(join(modules, name), join(installed, name))
  mkdirSync(join(installed, 'tidemark'))
  execFileSync('tar', [
    '-xzf',
    join(app, filename),
    '--strip-components=1',
    '-C',
    join(installed, 'tidemark'),
  ])
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', type: 'module' }))
})

afterAll(() => rmSync(app, { recursive: true, force: true }))

const program = `
import { createClient, createMemoryStorage, TidemarkError } from 'tidemark/client'
import { mountDevtools } from 'tidemark/client/devtools'
import { openDomain } from 'tidemark/client/domain'
import { counter, workflow } from 'tidemark/fields'
import { useDocument, useLive, usePresence, useQuery, useStatus } from 'tidemark/client/react'
import { useDomain } from 'tidemark/client/react/domain'
import { startServer } from 'tidemark/server'
const server = await startServer({ HOST: '127.0.0.1', PORT: '0', DATA_DIR: './data', LOG_LEVEL: 'silent' })
const client = createClient({ url: server.url, storage: 'memory' })
const handle = client.open('notes/first')
handle.doc.getText('t').insert(0, 'hello')
await handle.whenLoaded
const deal = openDomain(handle, { fields: {
  stock: counter(),
  state: workflow({ states: ['open', 'sold'], initial: 'open', transitions: { sell: { from: 'open', to: 'sold', consistency: 'free' } } }),
} }, { actor: 'ann000', subject: '' })
deal.fields.stock.do.add(5)
deal.fields.state.do.move('sell')
const stock: number = deal.fields.stock.value
const state: 'open' | 'sold' = deal.fields.state.value.state
await handle.saved()
const pending: number = handle.pending
const query = await client.query<{ one: number }>('select 1 as one').catch((error: TidemarkError) => error.code)
const live = await client.live<{ one: number }>('select 1 as one')
await client.close()
await server.close()
console.log(JSON.stringify({
  pending, query, live: live.state, stock, state,
  functions: [mountDevtools, useDocument, useDomain, useLive, usePresence, useQuery, useStatus, createMemoryStorage, TidemarkError].map((each) => typeof each),
}))
`

const withoutTypes = (text: string): string =>
  text.replaceAll(/: (number|TidemarkError|'open' \| 'sold')(?=[ )])|<\{.*?\}>/g, '')

test('an app imports the client, the hooks, the devtools and the server, and they work together', () => {
  writeFileSync(join(app, 'app.mjs'), withoutTypes(program))
  const output = execFileSync(process.execPath, ['app.mjs'], { cwd: app, encoding: 'utf8' })
  expect(JSON.parse(output)).toEqual({
    pending: 0,
    stock: 5,
    state: 'sold',
    query: 'views_unavailable',
    live: 'closed',
    functions: Array(9).fill('function'),
  })
})

test.each(['nodenext', 'bundler'])(
  'its types are found and hold: moduleResolution %s',
  (moduleResolution) => {
    writeFileSync(join(app, 'app.ts'), program)
    const module = moduleResolution === 'nodenext' ? 'nodenext' : 'esnext'
    const compilerOptions = {
      module,
      moduleResolution,
      target: 'es2023',
      lib: ['es2023', 'dom'],
      strict: true,
      noEmit: true,
      types: ['node'],
      skipLibCheck: true,
    }
    writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }))
    const run = (): string =>
      execFileSync(process.execPath, [join(modules, 'typescript/bin/tsc'), '-p', app], { encoding: 'utf8' })
    expect(run()).toBe('')
    writeFileSync(join(app, 'app.ts'), program.replace('pending: number', 'pending: string'))
    expect(run).toThrow()
  },
)

test('its command line runs where it is installed', () => {
  const { bin } = JSON.parse(readFileSync(join(app, 'node_modules/tidemark/package.json'), 'utf8')) as {
    bin: { tidemark: string }
  }
  const program = join(app, 'node_modules/tidemark', bin.tidemark)
  expect(readFileSync(program, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  const help = execFileSync(process.execPath, [program, '--help'], { cwd: app, encoding: 'utf8' })
  expect(help).toMatch(/import .*\n.*export /)
})

test('nothing else of it can be imported', async () => {
  writeFileSync(join(app, 'inside.mjs'), "await import('tidemark/dist/server/config.js')")
  expect(() => execFileSync(process.execPath, ['inside.mjs'], { cwd: app, stdio: 'pipe' })).toThrow(
    'ERR_PACKAGE_PATH_NOT_EXPORTED',
  )
})
