/** Documents of other servers come in whole, from databases that their own packages have made, into a real relay. */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { LeveldbPersistence } from 'y-leveldb'
import * as Y from 'yjs'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { token, tokenSecret } from '../support/tokens.ts'
import {
  type Documents,
  makeHocuspocusSqlite,
  makeYLevelDb,
  richDocument,
  richDocuments,
  withSqlite,
} from './databases.ts'
import { type Passing, startProxy } from './proxy.ts'
import { runCli } from './run-cli.ts'

const root = mkdtempSync(join(tmpdir(), 'tidemark-import-test-'))
let relay: RelayProcess
let folder: string
let made = 0

beforeAll(async () => {
  relay = await startRelay({ DATA_DIR: join(root, 'data') })
})
afterAll(async () => {
  await relay.kill9()
  rmSync(root, { recursive: true, force: true })
})
beforeEach(() => {
  folder = join(root, `source-${made++}`)
  mkdirSync(folder)
})

const names = ['notes/first', 'notes/ünïcödé 📄', 'a', 'notes', `long/${'x'.repeat(200)}`]

async function held(id: string, of = relay): Promise<Y.Doc> {
  const response = await fetch(`${of.url}/v1/documents/${encodeURIComponent(id)}/update`)
  expect(`${id} ${response.status}`).toBe(`${id} 200`)
  const doc = new Y.Doc()
  Y.applyUpdate(doc, new Uint8Array(await response.arrayBuffer()))
  return doc
}

async function expectHeld(documents: Documents, idOf: (name: string) => string): Promise<void> {
  for (const [name, doc] of Object.entries(documents)) {
    const copy = await held(idOf(name))
    expect(copy.getText('text').toDelta()).toEqual(doc.getText('text').toDelta())
    expect(copy.getMap('deal').toJSON()).toEqual(doc.getMap('deal').toJSON())
    expect(copy.getArray('notes').toJSON()).toEqual(doc.getArray('notes').toJSON())
    expect(copy.getArray('later').toJSON()).toEqual(doc.getArray('later').toJSON())
    expect(Y.encodeStateVector(copy)).toEqual(Y.encodeStateVector(doc))
  }
}

const cli = (...parameters: string[]) => runCli([...parameters, '--url', relay.url])

const filesOf = (path: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString('base64')]),
  )

describe('every document comes in, under the id that was asked for', () => {
  test('from a database of y-leveldb, which is left as it was', async () => {
    const documents = richDocuments(names)
    await makeYLevelDb(folder, documents)
    const before = filesOf(folder)
    const { code, stderr } = await cli('import', folder, '--prefix', 'level/')
    expect(stderr).toMatch(/^5 documents \([\d,]+ bytes\) imported and compared\.\n$/)
    expect(code).toBe(0)
    await expectHeld(documents, (name) => `level/${name}`)
    expect(filesOf(folder)).toEqual(before)
    expect(readdirSync(dirname(folder))).not.toContain(`${folder.split('/').at(-1)}.tidemark-import`)
  })

  test('from a database of Hocuspocus', async () => {
    const documents = richDocuments(names)
    const file = join(folder, 'hocuspocus.sqlite')
    makeHocuspocusSqlite(file, documents)
    const before = filesOf(folder)
    const { code, stderr } = await cli(
      'import',
      file,
      '--map',
      's/^notes\\/(.*)$/memos\\/$1/',
      '--prefix',
      'lite/',
    )
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('5 documents') })
    await expectHeld(documents, (name) => `lite/${name.replace(/^notes\//, 'memos/')}`)
    expect(filesOf(folder)).toEqual(before)
  })

  test('from one of Hocuspocus that was never closed: with what is in its write-ahead log only', async () => {
    const live = join(folder, 'live')
    const file = join(folder, 'copy')
    const documents = richDocuments(['x', 'y'])
    withSqlite(live, (database) => {
      database.get('pragma locking_mode = exclusive')
      database.get('pragma journal_mode = wal')
      database.exec('create table documents (name varchar(255) not null, data blob not null, unique(name))')
      for (const [name, doc] of Object.entries(documents))
        database.run('insert into documents values (?, ?)', [name, Y.encodeStateAsUpdate(doc)])
      for (const suffix of ['', '-wal']) copyFileSync(`${live}${suffix}`, `${file}${suffix}`)
    })
    expect(statSync(`${file}-wal`).size).toBeGreaterThan(4096)
    const before = filesOf(folder)
    expect(await cli('import', file, '--prefix', 'wal/')).toMatchObject({ code: 0 })
    await expectHeld(documents, (name) => `wal/${name}`)
    expect(filesOf(folder)).toEqual(before)
  })

  test('from a file with an update, of either version', async () => {
    const doc = richDocument(7)
    writeFileSync(join(folder, 'one.yjs'), Y.encodeStateAsUpdate(doc))
    writeFileSync(join(folder, 'two.bin'), Y.encodeStateAsUpdateV2(doc))
    expect(await cli('import', join(folder, 'one.yjs'), '--id', 'files/one')).toMatchObject({ code: 0 })
    expect(await cli('import', join(folder, 'two.bin'), '--prefix', 'files/')).toMatchObject({ code: 0 })
    await expectHeld({ one: doc, two: doc }, (name) => `files/${name}`)
  })

  test('from a folder of files', async () => {
    const documents = richDocuments(['deals/1', 'deals/2', 'memo'])
    mkdirSync(join(folder, 'deals'))
    for (const [name, doc] of Object.entries(documents))
      writeFileSync(join(folder, `${name}.yjs`), Y.encodeStateAsUpdate(doc))
    writeFileSync(join(folder, 'README.md'), 'not a document')
    expect(await cli('import', folder, '--prefix', 'folder/')).toMatchObject({ code: 0 })
    await expectHeld(documents, (name) => `folder/${name}`)
  })

  test('through an export and back', async () => {
    const documents = richDocuments([
      'deals/A',
      'deals/a',
      'deals/..x',
      'deals/nul',
      `deals/${'ü'.repeat(200)}`,
    ])
    makeHocuspocusSqlite(join(folder, 'db'), documents)
    expect(await cli('import', join(folder, 'db'), '--prefix', 'out/')).toMatchObject({ code: 0 })
    const out = join(folder, 'exported')
    expect((await cli('export', '--prefix', 'out/', '--output', out)).stderr).toMatch(
      /^5 documents .* exported/,
    )
    expect((await cli('export', '--prefix', 'out/', '--output', out)).stderr).toMatch(
      /^0 documents .*, 5 unchanged/,
    )
    expect(await cli('import', out, '--map', 's/^out/back/')).toMatchObject({ code: 0 })
    await expectHeld(documents, (name) => `back/${name}`)
  })
})

describe('what is wrong is said, and stops nothing else', () => {
  test('a damaged document among good ones fails by itself', async () => {
    const documents = richDocuments(['good/1', 'good/2', 'good/3'])
    const file = join(folder, 'db')
    makeHocuspocusSqlite(file, documents)
    withSqlite(file, (database) => {
      database.run('INSERT INTO documents VALUES (?, ?)', [
        'bad/cut',
        Y.encodeStateAsUpdate(richDocument(1)).subarray(0, 40),
      ])
      database.run('INSERT INTO documents VALUES (?, ?)', ['bad//id', Y.encodeStateAsUpdate(richDocument(1))])
      database.run('INSERT INTO documents VALUES (?, ?)', ['bad/text', 'not a blob'])
      database.run('INSERT INTO documents VALUES (?, ?)', ['empty', new Uint8Array()])
    })
    const { code, stderr } = await cli('import', file, '--prefix', 'damaged/')
    expect(code).toBe(1)
    expect(stderr).toMatch(/^failed {2}bad\/cut: .*\(malformed_update\)$/m)
    expect(stderr).toMatch(/^failed {2}bad\/\/id: .*\(invalid_document_id\)$/m)
    expect(stderr).toMatch(/^failed {2}bad\/text: Its data is no blob$/m)
    expect(stderr).toMatch(/^3 documents .*, 1 without content passed over, 3 failed\.$/m)
    await expectHeld(documents, (name) => `damaged/${name}`)
    const journal = `${file}.tidemark-import`
    expect(readFileSync(journal, 'utf8').trim().split('\n')).toHaveLength(3)
    const again = await cli('import', file, '--prefix', 'damaged/')
    expect(again.stderr).toMatch(/^0 documents .*, 3 done before, .*3 failed/m)
    const forced = await cli('import', file, '--prefix', 'damaged/', '--force')
    expect(forced.stderr).toMatch(/^3 documents .* 3 failed/m)
  })

  test('two documents that would become one are not merged', async () => {
    makeHocuspocusSqlite(join(folder, 'db'), richDocuments(['a/same', 'b/same']))
    const { code, stderr } = await cli(
      'import',
      join(folder, 'db'),
      '--map',
      's/^.*\\///',
      '--prefix',
      'one/',
    )
    expect(code).toBe(1)
    expect(stderr).toMatch(/^failed {2}b\/same: a\/same has become one\/same already/m)
    expect((await held('one/same')).getMap('deal').get('price')).toBe(1)
  })

  test('a dry run sends nothing and says what it would', async () => {
    makeHocuspocusSqlite(join(folder, 'db'), richDocuments(['x', 'y']))
    const { code, stdout } = await runCli(['import', join(folder, 'db'), '--dry-run', '--prefix', 'dry/'], {
      TIDEMARK_URL: 'http://127.0.0.1:9',
    })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^x -> dry\/x {2}\d+ bytes\ny -> dry\/y {2}\d+ bytes\n$/)
  })

  test.each([
    ['a source that is not there', ['import', 'nowhere'], 'cannot be read: ENOENT'],
    ['an option that is none', ['import', 'x', '--frmo', 'yjs'], "unknown option '--frmo'"],
    [
      'a source without documents',
      ['import', join(import.meta.dirname, '../../docs/images')],
      'has no documents',
    ],
    ['several without a folder', ['export', 'a', 'b'], 'need a folder'],
  ])('%s: nothing is done, 2', async (_, parameters, says) => {
    const { code, stderr } = await cli(...parameters)
    expect(stderr).toContain(says)
    expect(code).toBe(2)
  })

  test('a journal that cannot be written: nothing is done, 2', async () => {
    makeHocuspocusSqlite(join(folder, 'db'), richDocuments(['x']))
    const { code, stderr } = await cli(
      'import',
      join(folder, 'db'),
      '--journal',
      join(folder, 'none/journal'),
    )
    expect(stderr).toMatch(
      /^tidemark: The journal .* cannot be written \(ENOENT\): --journal puts it elsewhere\n$/,
    )
    expect(code).toBe(2)
  })

  test('a relay that is not there: nothing is done, 2', async () => {
    writeFileSync(join(folder, 'one.yjs'), Y.encodeStateAsUpdate(richDocument(1)))
    const { code, stderr } = await runCli(['import', join(folder, 'one.yjs'), '--url', 'http://127.0.0.1:9'])
    expect(stderr).toMatch(/No relay answers at http:\/\/127\.0\.0\.1:9/)
    expect(code).toBe(2)
  })
})

describe('the comparison sees', () => {
  test('an update that was not stored', async () => {
    const nothing = Buffer.from(Y.encodeStateAsUpdate(new Y.Doc()))
    const other = Buffer.from(Y.encodeStateAsUpdate(richDocument(4)))
    expect(await importedThrough('lost', { push: () => other, read: () => nothing })).toMatch(
      /^failed {2}lost: .* the relay lacks a part of it$/m,
    )
    expect(await importedThrough('cut', { push: () => other })).toMatch(/ the relay lacks a part of it$/m)
  })

  test('another content in the same place', async () => {
    const read = (document: Buffer): Buffer =>
      Buffer.from(document.toString('latin1').replace('wheat', 'steel'), 'latin1')
    expect(await importedThrough('changed', { read })).toMatch(
      /^failed {2}changed: .* the relay has other content in the place of a part of it$/m,
    )
  })

  async function importedThrough(name: string, passing: Passing): Promise<string> {
    const file = join(folder, `${name}.yjs`)
    writeFileSync(file, Y.encodeStateAsUpdate(richDocument(3)))
    const proxy = await startProxy(() => relay.url, passing)
    try {
      const { code, stderr } = await runCli(['import', file, '--prefix', 'seen/', '--url', proxy.url])
      expect(code).toBe(1)
      return stderr
    } finally {
      proxy.close()
    }
  }

  test('no difference in what others have written into the document', async () => {
    const id = 'seen/shared'
    const theirs = richDocument(9)
    const response = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(id)}/updates`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: Y.encodeStateAsUpdate(theirs) as BodyInit,
    })
    expect(response.status).toBe(201)
    writeFileSync(join(folder, 'one.yjs'), Y.encodeStateAsUpdate(richDocument(8)))
    expect(await cli('import', join(folder, 'one.yjs'), '--id', id)).toMatchObject({ code: 0 })
    expect((await held(id)).getArray('notes').toJSON()).toHaveLength(2)
  })
})

test('a document larger than an update may be comes in the pieces in which its source has it', async () => {
  const small = await startRelay({ DATA_DIR: join(folder, 'data'), UPDATE_BYTES_MAX: '1024' })
  try {
    const doc = new Y.Doc()
    const other = new Y.Doc()
    const path = join(folder, 'leveldb')
    await makeYLevelDb(path, { pieces: doc })
    other.getText('text').insert(0, 'z'.repeat(2000))
    const persistence = new LeveldbPersistence(path)
    const [first, second] = [new Y.Doc(), new Y.Doc()]
    first.getText('text').insert(0, 'x'.repeat(900))
    second.getText('text').insert(0, 'y'.repeat(900))
    for (const one of [first, second]) await persistence.storeUpdate('pieces', Y.encodeStateAsUpdate(one))
    await persistence.storeUpdate('whole', Y.encodeStateAsUpdate(other))
    await persistence.destroy()
    const { code, stderr } = await runCli(['import', path, '--url', small.url])
    expect(stderr).toMatch(/^failed {2}whole: .*\(update_too_large\)$/m)
    expect(stderr).toMatch(/^1 document .* 1 failed\.$/m)
    expect(code).toBe(1)
    expect((await held('pieces', small)).getText('text').length).toBe(1800)
  } finally {
    await small.kill9()
  }
})

test('a token is used and never shown, and what it does not allow is said', async () => {
  const guarded = await startRelay({ DATA_DIR: join(folder, 'data'), JWT_SECRET: tokenSecret })
  try {
    makeHocuspocusSqlite(join(folder, 'db'), richDocuments(['mine/1', 'theirs/1']))
    const allowed = await token({ documents: [{ match: 'mine/**', access: 'write' }] })
    const parameters = ['import', join(folder, 'db'), '--url', guarded.url]
    expect(await runCli(parameters)).toMatchObject({ code: 2, stderr: expect.stringContaining('token') })
    const { code, stderr } = await runCli(parameters, { TIDEMARK_TOKEN: allowed })
    expect(stderr).toMatch(/^failed {2}theirs\/1: .*\(forbidden\)$/m)
    expect(stderr).toMatch(/^1 document .* 1 failed\.$/m)
    expect(code).toBe(1)
    expect(stderr).not.toContain(allowed)
    expect(readFileSync(join(folder, 'db.tidemark-import'), 'utf8')).not.toContain(allowed)
  } finally {
    await guarded.kill9()
  }
})
