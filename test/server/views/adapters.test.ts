/**
 * Adapters are loaded from a folder, as people write them, by a process of its own: what vitest does with modules is not what
 * Node does. A broken one is an error that begins with its file and line.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const loader = new URL('../../../dist/server/views/adapters.js', import.meta.url).href
let root = ''

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark adapters %-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

interface Loaded {
  readonly adapters?: readonly { readonly name: string; readonly rows: unknown }[]
  readonly error?: string
}

/** Loads a folder with these files; errors without the folder's name. */
async function load(files: Readonly<Record<string, string>>): Promise<Loaded> {
  const folder = await mkdtemp(join(root, 'case-'))
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), text)
  }
  const script = `
    import { loadAdapters } from ${JSON.stringify(loader)}
    const text = (error) => ({ error: error.name + ' ' + error.message })
    const name = ({ name, document }) => ({ name, rows: document(null, { parameters: {} }) })
    const loaded = await loadAdapters(process.argv[1]).then((all) => ({ adapters: all.map(name) }), text)
    console.log(JSON.stringify(loaded))`
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', script, folder],
    { timeout: 30_000 },
  )
  const loaded = JSON.parse(stdout) as Loaded
  if (loaded.error === undefined) return loaded
  return { error: loaded.error.replaceAll(`${folder}/`, '').replace('AdapterLoadError ', '') }
}

const adapter = (name: string, table = name, rows = '[]') => `defineAdapter({
  name: '${name}',
  version: 1,
  documents: '${name}/:id',
  sql: 'create table ${table} (document text primary key)',
  document: () => ({ ${table}: ${rows} }),
})`
const head = "import { defineAdapter } from 'tidemark/adapter'\n"

test('of every kind of file, with what they import, and nothing else that lies there', async () => {
  const { adapters } = await load({
    'a.ts': `import { type Adapter, defineAdapter } from 'tidemark/adapter'
      import { rows } from './parts/rows.ts'
      import { more } from './parts/more.js'
      export const a: Adapter = ${adapter('a', 'a', '[...rows, more] as never[]')}
      export default a`,
    'parts/rows.ts': `export type Row = { n: number }\nexport const rows: readonly Row[] = [{ n: 1 }]`,
    'parts/more.ts': 'export const more = { n: 2 as number }',
    'b.mts': `${head}export default ${adapter('b')} satisfies object`,
    'c.js': `${head}export const c = ${adapter('c')}\nexport const d = ${adapter('d')}`,
    'e.mjs': `${head}export default ${adapter('e')}`,
    '_shared.ts': 'throw new Error("not loaded")',
    'a.test.ts': 'throw new Error("not loaded")',
    'types.d.ts': 'export type X = 1',
    'README.md': '# Adapters',
  })
  expect(adapters?.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'e'])
  expect(adapters?.[0]?.rows).toEqual({ a: [{ n: 1 }, { n: 2 }] })
})

test('may share their fields with the app, where nothing is installed', async () => {
  const { adapters } = await load({
    'a.ts': `${head}import { fields } from './fields/deals.ts'
      export default defineAdapter({ name: 'deals', version: 1, documents: 'deals/:id', fields })`,
    'fields/deals.ts': "import { counter } from 'tidemark/fields'\nexport const fields = { sold: counter() }",
  })
  expect(adapters?.map(({ name }) => name)).toEqual(['deals'])
})

test('of no folder, and of an empty one, there are none', async () => {
  expect(await load({})).toEqual({ adapters: [] })
  expect(await load({ 'within/a.ts': 'throw new Error("not loaded")' })).toEqual({ adapters: [] })
})

test.each<[error: string, files: Readonly<Record<string, string>>]>([
  ['a.ts:3:8: Unexpected token `=`', { 'a.ts': `${head}// second\nlet x: = 1` }],
  ['a.ts:2:1: TypeScript enum is not supported', { 'a.ts': `${head}enum X { A }` }],
  ['a.js:2: Unexpected token', { 'a.js': `${head}const x = ;` }],
  ['a.ts:3:7: oh', { 'a.ts': `type A = 1\n\nthrow new Error('oh')` }],
  [
    'a.ts:4:16: Adapter "A": a name begins',
    { 'a.ts': `${head}type X = {\n}\nexport default ${adapter('A')}` },
  ],
  [
    'lib/b.ts:2:25: oh',
    { 'a.ts': "import './lib/b.ts'", 'lib/b.ts': `\nconst f = () => { throw new Error('oh') }\nf()` },
  ],
  ["a.ts:2: Cannot find package 'nope'", { 'a.ts': `${head}import x from 'nope'` }],
  ['a.ts:2: Cannot find module', { 'a.ts': `${head}import { x } from "./nope.ts"` }],
  ['a.ts:2: Cannot find module', { 'a.ts': `${head}import { x } from "./nope.js"` }],
  ['a.ts:2', { 'a.ts': `${head}import { x } from './b.mjs'`, 'b.mjs': 'export const y = 1' }],
  ['a.ts: exports no adapter', { 'a.ts': `${head}export const version = 1` }],
  ['a.ts: undefined', { 'a.ts': 'throw undefined' }],
  [
    'b.ts: an adapter named "x" is in a.ts already',
    { 'a.ts': `${head}export default ${adapter('x')}`, 'b.ts': `${head}export default ${adapter('x')}` },
  ],
  [
    'b.ts: makes a table "t", and so does the adapter "x" in a.ts',
    {
      'a.ts': `${head}export default ${adapter('x', 't')}`,
      'b.ts': `${head}export default ${adapter('y', 't')}`,
    },
  ],
])('a broken one is refused: %s', async (error, files) => {
  const loaded = await load(files)
  expect(loaded.error?.startsWith(error), loaded.error).toBe(true)
})

test('the examples of docs/views.md are adapters, and their test passes', async () => {
  const guide = await readFile(new URL('../../../docs/views.md', import.meta.url), 'utf8')
  const examples = [...guide.matchAll(/```ts\n\/\/ adapters\/(\S+)\n(.*?)```/gs)].map(([, file, text]) => [
    file,
    text,
  ])
  const folder = await mkdtemp(join(root, 'guide-'))
  await symlink(new URL('../../../node_modules', import.meta.url).pathname, join(folder, 'node_modules'))
  for (const [file, text] of examples) await writeFile(join(folder, file!), text!)
  const script = `
    import { pathToFileURL } from 'node:url'
    import { loadAdapters } from ${JSON.stringify(loader)}
    const adapters = await loadAdapters(process.argv[1])
    console.log('# adapters ' + adapters.map(({ name }) => name))
    await import(pathToFileURL(process.argv[1] + '/notes.test.ts').href)`
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', script, folder],
    { timeout: 30_000, env: { PATH: process.env['PATH'] } },
  )
  expect(stdout).toContain('# adapters boards,notes')
  expect(stdout).toMatch(/pass 1\n/)
})
