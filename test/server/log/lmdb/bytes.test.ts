/**
 * Golden bytes of everything the embedded log puts on the disk. When one of these changes, the
 * format has changed: raise its version, add a line of history, keep reading what was written before.
 */
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { noOffset, toOffset } from '../../../../core/offset.ts'
import { decodeEntry, encodeEntry } from '../../../../server/log/entry-codec.ts'
import { DocumentState } from '../../../../server/log/lmdb/document-state.ts'
import { entryBytesMax, writeEntry } from '../../../../server/log/lmdb/entry-bytes.ts'
import { Group } from '../../../../server/log/lmdb/group.ts'
import { readRecord, recordAt, sealRecord } from '../../../../server/log/lmdb/record.ts'
import { encodeSegmentHeader, readSegment, segmentFormat } from '../../../../server/log/lmdb/segment.ts'
import { Slabs } from '../../../../server/log/lmdb/slabs.ts'
import {
  CorruptValue,
  chunkHeaderBytes,
  decodeDocument,
  decodeMark,
  decodeSnapshot,
  encodeDocument,
  encodeMark,
  encodeSnapshot,
  readChunk,
  sealChunk,
  valueFormat,
} from '../../../../server/log/lmdb/values.ts'
import { type EntryKind, entryKinds } from '../../../../server/log/log.ts'
import { documentOf } from '../../../contract/log-model.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const entry = {
  timeMs: 300,
  author: 'ä',
  origin: 'o',
  key: { replica: 'r', sequence: 7 },
  update: Uint8Array.of(1, 2),
}
const entryHex = '01ac0202c3a4016f0172070102'

const snapshot = {
  offset: toOffset(4),
  index: Uint8Array.of(9),
  metadata: Uint8Array.of(6, 5, 4),
  bytes: Uint8Array.of(8, 7),
}
const document = {
  head: 300,
  snapshotOffset: 2,
  sequence: 2 ** 33,
  replicas: [{ replica: 'r', sequence: 7, offset: 3 }],
}

function record(): Buffer {
  const group = new Group(new Slabs().add(Buffer.alloc(256)), 0, 1)
  const [a, b] = ['a', 'b'].map((id) => new DocumentState(documentOf(id), null))
  group.add(a!, 5, entry, null)
  group.add(b!, 1, entry, null)
  group.add(a!, 6, entry, null)
  sealRecord(group.slab.buffer, 0, group.end, 0x01020304, 2 ** 33 + 9, group.count)
  return group.slab.buffer.subarray(0, group.end)
}

describe('the bytes of the embedded log', () => {
  it('of a segment header, format 2', () => {
    expect(segmentFormat).toBe(2)
    expect(hex(encodeSegmentHeader(7, 0xa0b0c0d0))).toBe('544d4a31df1ea61b0700000000000000d0c0b0a002000000')
  })

  it('of a segment header, format 1, still', () => {
    const header = Buffer.from('544d4a3131b113090700000000000000d0c0b0a001000000', 'hex')
    expect(readSegment('path', 7, header).records).toEqual([])
  })

  it('of a record', () => {
    const bytes = record()
    const payload = `000161050d000000${entryHex}000162010d000000${entryHex}010d000000${entryHex}`
    const checked = `030000000900000002000000${payload}`
    const crc = Buffer.alloc(4)
    crc.writeUInt32LE(crc32(Buffer.from(checked, 'hex'), 0x01020304))
    expect(hex(bytes)).toBe(`544d52313c000000${hex(crc)}${checked}`)
    const span = recordAt(bytes, 0, 0x01020304)!
    expect(span).toEqual({ lsn: 2 ** 33 + 9, entries: 3, start: 0, end: bytes.length })
    const read: unknown[] = []
    readRecord(bytes, span, (document, offset, at) => {
      read.push([document, offset, DocumentState.entryAt(bytes, at, toOffset(offset)).update.length])
    })
    expect(read).toEqual([
      ['a', 5, 2],
      ['b', 1, 2],
      ['a', 6, 2],
    ])
    expect(recordAt(bytes, 0, 0x01020305)).toBeNull()
  })

  it('of a chunk, a snapshot, a document record and a mark, format 2', () => {
    expect(valueFormat).toBe(2)
    const chunk = Buffer.alloc(chunkHeaderBytes + 6)
    chunk.writeUInt32LE(2, chunkHeaderBytes)
    expect(hex(sealChunk(chunk, 3, 1))).toBe('020000001ad8972f030000000000000001000000020000000000')
    expect(hex(encodeSnapshot(snapshot))).toBe('02000000b89b954c04000000000000000100000003000000090605040807')
    expect(hex(encodeDocument(document))).toBe('0200000003e0bd6aac020280808080200101720703')
    expect(hex(encodeMark(2 ** 32 + 1))).toBe('0200000092b834110100000001000000')
    expect(decodeSnapshot(encodeSnapshot(snapshot))).toEqual({
      offset: 4,
      index: Buffer.of(9),
      metadata: Buffer.of(6, 5, 4),
      bytes: Buffer.of(8, 7),
    })
    expect(decodeDocument(encodeDocument(document))).toEqual(document)
    expect(decodeMark(encodeMark(2 ** 32 + 1))).toBe(2 ** 32 + 1)
  })

  it('of a chunk, a snapshot, a document record and a mark, format 1, still', () => {
    const entries: unknown[] = []
    readChunk(Buffer.from('010000001ad8972f030000000000000001000000020000000000', 'hex'), (offset, bytes) => {
      entries.push([offset, hex(bytes)])
    })
    expect(entries).toEqual([[3, '0000']])
    expect(decodeSnapshot(Buffer.from('010000001449b4a2040000000000000001000000090807', 'hex'))).toEqual({
      offset: 4,
      index: Buffer.of(9),
      metadata: Buffer.of(),
      bytes: Buffer.of(8, 7),
    })
    expect(decodeDocument(Buffer.from('010000001ea87646ac02020101720703', 'hex'))).toEqual({
      ...document,
      sequence: 0,
    })
    expect(decodeMark(Buffer.from('0100000092b834110100000001000000', 'hex'))).toBe(2 ** 32 + 1)
  })

  it('of a value are refused when any bit of them is flipped, or when they are cut short', () => {
    const chunk = sealChunk(Buffer.concat([Buffer.alloc(chunkHeaderBytes), Buffer.of(1, 0, 0, 0, 5)]), 3, 1)
    const cases: [Buffer, (bytes: Uint8Array) => unknown][] = [
      [encodeSnapshot(snapshot), decodeSnapshot],
      [encodeDocument(document), decodeDocument],
      [chunk, (bytes) => readChunk(bytes, () => {})],
      [encodeMark(5), decodeMark],
    ]
    for (const [bytes, decode] of cases) {
      decode(bytes)
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = Buffer.from(bytes)
        flipped[bit >> 3]! ^= 1 << (bit & 7)
        expect(() => decode(flipped), `bit ${bit}`).toThrow(CorruptValue)
      }
      for (let length = 0; length < bytes.length; length++)
        expect(() => decode(bytes.subarray(0, length))).toThrow(CorruptValue)
    }
  })

  it('of an entry are those of the entry codec, whatever is in it', () => {
    const text = fc.oneof(fc.string({ maxLength: 200 }), fc.string({ unit: 'binary', maxLength: 60 }))
    const entries = fc.record(
      {
        timeMs: fc.maxSafeNat(),
        author: text,
        origin: text,
        key: fc.record({ replica: text, sequence: fc.maxSafeNat() }),
        kind: fc.constantFrom(...(Object.keys(entryKinds) as EntryKind[])),
        epoch: fc.maxSafeNat().map(toOffset),
        update: fc.uint8Array({ maxLength: 80 }),
      },
      { requiredKeys: ['timeMs', 'author', 'origin', 'update'] },
    )
    fc.assert(
      fc.property(entries, fc.nat(9), (entry, start) => {
        const buffer = Buffer.alloc(start + entryBytesMax(entry))
        const end = writeEntry(buffer, start, entry)
        const written = buffer.subarray(start, end)
        expect(hex(written)).toBe(hex(encodeEntry(entry)))
        const { kind = 'update', epoch = noOffset, ...rest } = entry
        expect(decodeEntry(written, toOffset(1))).toEqual({
          ...rest,
          ...(kind !== 'update' && { kind }),
          ...(epoch !== noOffset && { epoch }),
          update: Buffer.from(entry.update),
          offset: 1,
        })
      }),
      { numRuns: 300 },
    )
  })
})
