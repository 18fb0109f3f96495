/** What a store of snapshots promises, held by both on the real thing: a folder, and an S3 server. */
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openStore } from '../../../../server/log/cold/open-store.ts'
import { type SnapshotStore, StoreError } from '../../../../server/log/cold/snapshot-store.ts'
import { parseStoreAddress } from '../../../../server/log/cold/store-address.ts'
import { type S3Server, s3Credentials, startS3Server } from './s3-server.ts'

let s3: S3Server
let folder: string
let made = 0
const signal = AbortSignal.timeout(120_000)

beforeAll(async () => {
  for (const [name, value] of Object.entries(s3Credentials)) vi.stubEnv(name, value)
  s3 = await startS3Server()
  folder = mkdtempSync(join(tmpdir(), 'tidemark-cold-'))
})

afterAll(async () => {
  await s3.stop()
  rmSync(folder, { recursive: true, force: true })
  vi.unstubAllEnvs()
})

const addresses = {
  file: () => `file:${join(folder, String(++made))}`,
  s3: () => s3.address(`prefix/${++made}`),
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof StoreError ? error.failure : String(error)),
  )

describe.each(['file', 's3'] as const)('a store of snapshots: %s', (kind) => {
  let store: SnapshotStore
  let address: string
  beforeEach(async () => {
    address = addresses[kind]()
    store = openStore(address)
    await store.start()
  })
  afterEach(() => store.close())

  test.each([1, 70_000, 9_000_000])('gives back %i bytes as they were put', async (length) => {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff)
    await store.put('snapshots/aa/bb/x-1-0', bytes, signal)
    const again = openStore(address)
    await again.start()
    expect(Buffer.compare(await again.get('snapshots/aa/bb/x-1-0', length + 1, signal), bytes)).toBe(0)
    expect((await again.get('snapshots/aa/bb/x-1-0', 10, signal)).length).toBe(Math.min(10, length))
    await again.close()
  })

  test('says that something is missing only when it is', async () => {
    expect(await failure(store.get('snapshots/aa/bb/none', 10, signal))).toBe('missing')
    await store.put('snapshots/aa/bb/x', Uint8Array.of(1), signal)
    await store.delete('snapshots/aa/bb/x', signal)
    await store.delete('snapshots/aa/bb/x', signal)
    expect(await failure(store.get('snapshots/aa/bb/x', 10, signal))).toBe('missing')
  })

  test('lists by prefix in the order of keys, page by page, with times', async () => {
    const keys = ['00/00/a-1-f', '00/00/a-10-f', '00/00/a-2-f', '00/01/0', 'ab/00/z', 'ab/ff/0', 'ff/ff/ff']
    for (const key of [...keys].reverse()) await store.put(`snapshots/${key}`, Uint8Array.of(1), signal)
    for (const key of keys) await store.put(`unused/${key}`, Uint8Array.of(1), signal)
    for (const countMax of [1, 2, 3, 100]) {
      const found: string[] = []
      for (;;) {
        const page = await store.list('snapshots/', found.at(-1) ?? '', countMax, signal)
        if (page.length === 0) break
        expect(page.length).toBeLessThanOrEqual(countMax)
        for (const { key, modifiedMs } of page) {
          found.push(key)
          expect(Math.abs(Date.now() - modifiedMs)).toBeLessThan(60_000)
        }
      }
      expect(found).toEqual(keys.map((key) => `snapshots/${key}`))
    }
    expect(await store.list('snapshots/', 'snapshots/ab', 1, signal)).toMatchObject([
      { key: 'snapshots/ab/00/z' },
    ])
    expect(await store.list('nothing/', '', 10, signal)).toEqual([])
  })

  test('ends with its signal, and says that it does not know', async () => {
    const aborted = AbortSignal.abort()
    expect(await failure(store.put('snapshots/aa/bb/x', new Uint8Array(10), aborted))).toBe('unavailable')
    expect(await failure(store.get('snapshots/aa/bb/x', 10, signal))).toBe('missing')
    await store.put('snapshots/aa/bb/x', new Uint8Array(10), signal)
    expect(await failure(store.get('snapshots/aa/bb/x', 10, aborted))).toBe('unavailable')
    expect(await failure(store.list('snapshots/', '', 10, aborted))).toBe('unavailable')
  })
})

describe('the folder', () => {
  test('shows no object before it is whole, and forgets what was left half written', async () => {
    const path = join(folder, String(++made))
    const store = openStore(`file:${path}`)
    await store.start()
    const old = join(path, 'incoming', 'old')
    const young = join(path, 'incoming', 'young')
    for (const file of [old, young]) writeFileSync(file, 'half')
    utimesSync(old, new Date(0), new Date(0))
    await store.put('snapshots/aa/bb/x', new Uint8Array(10), signal)
    expect((await store.list('', '', 10, signal)).map(({ key }) => key)).toContain('snapshots/aa/bb/x')
    await openStore(`file:${path}`).start()
    expect([existsSync(old), existsSync(young)]).toEqual([false, true])
    expect(readdirSync(join(path, 'snapshots', 'aa', 'bb'))).toEqual(['x'])
  })

  test.each(['../x', 'snapshots/../../x', '/etc/x', 'snapshots/aa/', ''])(
    'follows no key out of itself: %s',
    async (key) => {
      const store = openStore(`file:${join(folder, String(++made))}`)
      await store.start()
      expect(await failure(store.get(key, 10, signal))).toBe('missing')
    },
  )

  test('refuses to start where it cannot be', async () => {
    writeFileSync(join(folder, 'a-file'), '')
    await expect(openStore(`file:${join(folder, 'a-file', 'x')}`).start()).rejects.toThrow()
  })
})

describe('S3', () => {
  test('that is away or says nothing is "unavailable", within the time given, and comes back', async () => {
    const store = openStore(addresses.s3())
    await store.start()
    await store.put('snapshots/aa/bb/x', new Uint8Array(10), signal)
    s3.pause()
    expect(await failure(store.get('snapshots/aa/bb/x', 10, AbortSignal.timeout(300)))).toBe('unavailable')
    s3.resume()
    await s3.kill9()
    expect(await failure(store.get('snapshots/aa/bb/x', 10, signal))).toBe('unavailable')
    await s3.restart()
    expect((await store.get('snapshots/aa/bb/x', 10, signal)).length).toBe(10)
    await store.close()
  })
})

test('SNAPSHOT_STORE takes folders and buckets, and nothing that hides a mistake or a secret', () => {
  const bucket = { kind: 's3', bucket: 'b.c-d', prefix: '' }
  const endpoint = 'http://127.0.0.1:9000'
  expect(parseStoreAddress('file:/a/b c')).toEqual({ kind: 'file', folder: '/a/b c' })
  expect(parseStoreAddress('file:///a')).toEqual({ kind: 'file', folder: '/a' })
  expect(parseStoreAddress('file:data/cold')).toEqual({ kind: 'file', folder: 'data/cold' })
  expect(parseStoreAddress('s3://b.c-d')).toEqual(bucket)
  expect(parseStoreAddress('s3://b.c-d/x/y/')).toEqual({ ...bucket, prefix: 'x/y/' })
  expect(parseStoreAddress(`s3://b.c-d/?endpoint=${endpoint}&region=eu`)).toEqual({
    ...bucket,
    endpoint,
    region: 'eu',
  })
  const refused = [
    '',
    '?',
    'file:',
    'file://host/a',
    's3:',
    's3://',
    '/a',
    'https://b/c',
    's3://user:secret@b/c',
  ]
  refused.push('s3://b/c?acl=public', 's3://b?region=a&region=b', 's3://b?endpoint=ftp://x', 's3://b?region=')
  refused.push('s3://b?endpoint=http://user:secret@x', 's3://b/a b', 's3://b#x', 's3://b:9000/')
  for (const text of refused) expect(parseStoreAddress(text), text).toBeNull()
})
