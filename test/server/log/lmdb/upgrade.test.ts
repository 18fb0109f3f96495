/** A directory as value format 1 left it: read as before, and its documents are listed and changed like any other. */
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { open } from 'lmdb'
import { afterEach, expect, it } from 'vitest'
import { ByteWriter } from '../../../../core/bytes.ts'
import { decodeDocument, decodeSnapshot } from '../../../../server/log/lmdb/values.ts'
import {
  changesFrom,
  compactTo,
  contentsOf,
  documentOf,
  entryOf,
  textOf,
} from '../../../contract/log-model.ts'
import { type EmbeddedLogUnderTest, embeddedLogUnderTest } from './embedded-log-under-test.ts'

let subject: EmbeddedLogUnderTest

afterEach(() => subject.cleanup())

function sealed(content: Uint8Array): Buffer {
  const value = Buffer.concat([Buffer.of(1, 0, 0, 0, 0, 0, 0, 0), content])
  value.writeUInt32LE(crc32(content), 4)
  return value
}

function documentOfFormat1(bytes: Uint8Array): Buffer {
  const { head, snapshotOffset, replicas } = decodeDocument(bytes)
  const writer = new ByteWriter().varUint(head).varUint(snapshotOffset).varUint(replicas.length)
  for (const { replica, sequence, offset } of replicas)
    writer.varString(replica).varUint(sequence).varUint(offset)
  return sealed(writer.finish())
}

function snapshotOfFormat1(stored: Uint8Array): Buffer {
  const { offset, index, bytes } = decodeSnapshot(stored)
  const header = Buffer.alloc(12)
  header.writeUInt32LE(offset, 0)
  header.writeUInt32LE(index.length, 8)
  return sealed(Buffer.concat([header, index, bytes]))
}

/** Rewrites what is stored as the first version would have; `damaged` gets a wrong checksum. */
async function toFormat1(directory: string, damaged: string): Promise<void> {
  const root = open({ path: join(directory, 'log'), noSubdir: false, encoding: 'binary', maxDbs: 5 })
  const rewrites = [
    ['documents', documentOfFormat1],
    ['snapshots', snapshotOfFormat1],
  ] as const
  for (const [name, rewrite] of rewrites) {
    const values = root.openDB<Uint8Array, string>({ name, encoding: 'binary' })
    for (const key of [...values.getKeys()]) await values.put(key, rewrite(values.getBinary(key)!))
    if (name === 'documents') await values.put(damaged, Buffer.alloc(20, 1))
  }
  await root.openDB({ name: 'changes', encoding: 'binary' }).clearAsync()
  await root.close()
}

it('gives every readable document its place among the changes, once, and goes on behind them', async () => {
  subject = await embeddedLogUnderTest()
  const ids = ['a', 'b/1', 'b/2', 'c', 'damaged'].map((name) => documentOf(`upgrade/${name}`))
  for (const id of ids)
    await subject.log.append(id, [entryOf('1', { replica: 'r', sequence: 1 }), entryOf('2')])
  expect(await compactTo(subject.log, ids[1]!)).toBe(true)
  let log = await subject.reopen()
  await log.close()
  await toFormat1(subject.directory, ids[4]!)
  log = await subject.reopen()
  const readable = ids.slice(0, 4)
  for (const countMax of [1, 10])
    expect((await changesFrom(log, 0, countMax)).map((change) => change.document)).toEqual(readable)
  expect(await log.list('upgrade/', '', 10)).toEqual(ids)
  await expect(log.load(ids[4]!)).rejects.toMatchObject({ code: 'document_unreadable' })
  const { snapshot } = await log.load(ids[1]!)
  expect([textOf(snapshot!.index), snapshot!.metadata.length]).toEqual(['i2', 0])
  expect((await log.append(ids[0]!, [entryOf('1', { replica: 'r', sequence: 1 })]))[0]!.duplicate).toBe(true)
  const { sequence } = (await changesFrom(log, 0)).at(-1)!
  await log.append(ids[0]!, [entryOf('3')])
  expect((await log.changes(sequence, 10)).map((change) => change.document)).toEqual([ids[0]])
  expect(contentsOf(await log.load(ids[0]!))).toEqual(['1', '2', '3'])
  log = await subject.reopen()
  expect((await changesFrom(log, 0)).map((change) => change.document)).toEqual([...readable.slice(1), ids[0]])
})
