/** The bytes that are stored outside the log, and in it. Who changes them adds a version and keeps reading this one. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { toOffset } from '../../../../core/offset.ts'
import { newKey, pointerOf, pointerSnapshot } from '../../../../server/log/cold/pointer.ts'
import { seal, sealedFormat, unseal, unsealHeader } from '../../../../server/log/cold/sealed.ts'

const document = 'deals/härvest-42' as DocumentId
const offset = toOffset(300)
const state = { index: Uint8Array.of(1, 2, 3), bytes: Uint8Array.of(4, 5, 6, 7) }
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

test('a sealed snapshot, format 1', async () => {
  expect(sealedFormat).toBe(1)
  const { object, sha256 } = await seal(document, offset, state)
  const body = `${hex(Buffer.from('tidemark'))}01${'11'}${hex(Buffer.from(document))}ac0203040102030405${'0607'}`
  expect(hex(object)).toBe(body + hex(sha256))
  expect(hex(sha256)).toBe(createHash('sha256').update(Buffer.from(body, 'hex')).digest('hex'))
  expect(await unseal(object, { document, offset, sha256 })).toEqual(state)
  expect(unsealHeader(object.subarray(0, 40))).toEqual({ document, offset })
})

test('a pointer, format 1', () => {
  const sha256 = Uint8Array.from({ length: 32 }, (_, i) => i)
  const pointer = { key: 'snapshots/aa/bb/cc-300-dd', objectBytes: 1_000, stateBytes: 900, sha256 }
  const metadata = Uint8Array.of(9)
  const snapshot = pointerSnapshot(pointer, { ...state, offset, metadata })
  expect(Buffer.from(snapshot.index).toString()).toBe('tidemark cold 1')
  expect(hex(snapshot.bytes)).toBe(`19${hex(Buffer.from(pointer.key))}e8078407${hex(sha256)}`)
  expect([snapshot.offset, snapshot.metadata]).toEqual([offset, metadata])
  expect(pointerOf(snapshot)).toEqual(pointer)
})

test('a key names no document, has its place in the folders by hash, and is never used again', () => {
  const hash = createHash('sha256').update(document).digest('hex')
  const keys = [newKey(document, offset), newKey(document, offset)]
  const pattern = `^snapshots/${hash.slice(0, 2)}/${hash.slice(2, 4)}/${hash.slice(4, 32)}-300-[0-9a-f]{16}$`
  for (const key of keys) expect(key).toMatch(new RegExp(pattern))
  expect(keys[0]).not.toBe(keys[1])
})
