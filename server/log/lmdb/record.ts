/**
 * The bytes of one journal record, which is one group commit. Little endian.
 *
 *   0   magic    u32   'TMR1'
 *   4   length   u32   of the payload
 *   8   crc32    u32   of bytes 12 to the end, begun with the seed of the segment
 *   12  entries  u32
 *   16  lsn      u64   rises by one with each record
 *   24  payload:
 *         entry = reference:varUint [document:varString offset:varUint]  length:u32  entry bytes
 *
 * `reference` 0 names a document for the first time in this record; from then on it is the n-th
 * document of the record, counted from 1, and the entry has the offset after the one before. The crc
 * begins with a seed that is drawn anew whenever a segment file is written from its start, so what
 * an earlier life of a recycled file left behind never passes for a record.
 */
import { crc32 } from 'node:zlib'
import { ByteReader } from '../../../core/bytes.ts'
import type { DocumentId } from '../../../core/document-id.ts'

export const recordHeaderBytes = 24
export const recordMagic = Buffer.from('TMR1', 'latin1')
const magicWord = recordMagic.readUInt32LE(0)
const word = 2 ** 32

/** What precedes an entry's bytes in a record, and in a chunk. */
export const entryLengthBytes = 4

/** Writes the header before the payload that lies between `start + recordHeaderBytes` and `end`. */
export function sealRecord(
  buffer: Buffer,
  start: number,
  end: number,
  seed: number,
  lsn: number,
  count: number,
): void {
  buffer.writeUInt32LE(magicWord, start)
  buffer.writeUInt32LE(end - start - recordHeaderBytes, start + 4)
  buffer.writeUInt32LE(count, start + 12)
  buffer.writeUInt32LE(lsn % word, start + 16)
  buffer.writeUInt32LE(Math.floor(lsn / word), start + 20)
  buffer.writeUInt32LE(crc32(buffer.subarray(start + 12, end), seed), start + 8)
}

export interface RecordSpan {
  readonly lsn: number
  readonly entries: number
  readonly start: number
  readonly end: number
}

/** The record at `start`, or null when what lies there is none of this segment. */
export function recordAt(buffer: Buffer, start: number, seed: number): RecordSpan | null {
  if (start + recordHeaderBytes > buffer.length) return null
  if (buffer.readUInt32LE(start) !== magicWord) return null
  const end = start + recordHeaderBytes + buffer.readUInt32LE(start + 4)
  if (end > buffer.length) return null
  if (crc32(buffer.subarray(start + 12, end), seed) !== buffer.readUInt32LE(start + 8)) return null
  const lsn = buffer.readUInt32LE(start + 16) + buffer.readUInt32LE(start + 20) * word
  return { lsn, entries: buffer.readUInt32LE(start + 12), start, end }
}

/** Where the first record after `start` begins, or -1. */
export function recordAfter(buffer: Buffer, start: number, seed: number): number {
  let at = buffer.indexOf(recordMagic, start)
  while (at !== -1 && recordAt(buffer, at, seed) === null) at = buffer.indexOf(recordMagic, at + 1)
  return at
}

/** Calls back with each entry of a valid record: `at` is where its length stands. Throws `MalformedBytes`. */
export function readRecord(
  buffer: Buffer,
  record: RecordSpan,
  onEntry: (document: DocumentId, offset: number, at: number) => void,
): void {
  const reader = new ByteReader(buffer, record.start + recordHeaderBytes, record.end)
  const documents: DocumentId[] = []
  const offsets: number[] = []
  for (let i = 0; i < record.entries; i++) {
    let reference = reader.varUint()
    if (reference === 0) {
      reference = documents.push(reader.varString() as DocumentId)
      offsets.push(reader.varUint())
    }
    const document = documents[reference - 1]
    const offset = offsets[reference - 1]
    if (document === undefined || offset === undefined) throw new Error(`no document ${reference}`)
    offsets[reference - 1] = offset + 1
    const at = reader.position
    reader.skip(entryLengthBytes)
    reader.skip(buffer.readUInt32LE(at))
    onEntry(document, offset, at)
  }
}
