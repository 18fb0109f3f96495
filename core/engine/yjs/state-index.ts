/**
 * The index beside a snapshot: where each client's structs and deletes lie in its bytes, so that a join
 * copies ranges instead of decoding structs. A few bytes for every client and every 4 KB.
 *
 *   index   = format:u8 = 1  checksum:u32le (FNV-1a of all that follows)  body
 *   body    = bytes:varUint                       -- length of the update that it describes
 *             start:varUint n:varUint n×section   -- sections follow each other without gap from `start`
 *             head:varUint n:varUint n×part       -- as do the parts, `head` bytes after the sections
 *   section = client:varUint head:varUint bytes:varUint runs:varUint runs×run
 *             -- `head` bytes of integers, then `bytes` of structs
 *   run     = clockGap clocks byteGap bytes structs rows:varUint rows×row       -- all varUint
 *             -- gaps: from the end of the run before; at the first, from clock 0 and the first struct
 *   row     = clocks bytes structs                -- all varUint, since the row before or the run's start
 *   part    = client:varUint head:varUint bytes:varUint ranges:varUint
 *
 * Decoding gives the same flat records as a scan, checked for sums and order; the checksum catches the
 * rest. Change the format only with its first byte, and keep reading the ones before.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import type { IndexedState } from '../engine.ts'
import { deletePartWidth, rowWidth, runWidth, type Scan, scanStored, sectionWidth } from './scan.ts'
import { clockMax } from './struct-scanner.ts'

export const indexFormat = 1
const headBytes = 5

/** Where things are in an update, from a scan or from an index. */
export type Layout = Omit<Scan, 'deletes'>

/** Throws `document_unreadable`: only states that were validated or made here are indexed. */
export function indexOf(bytes: Uint8Array): Uint8Array {
  return encodeLayout(scanStored(bytes, true), bytes.length)
}

const decodedLayouts = new WeakMap<Uint8Array, Layout>()

/** Decodes once for each index object. Throws `document_unreadable`. */
export function layoutOf(state: IndexedState): Layout {
  const known = decodedLayouts.get(state.index)
  if (known !== undefined) return known
  try {
    const layout = decodeLayout(state.index, state.bytes.length)
    decodedLayouts.set(state.index, layout)
    return layout
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('document_unreadable', `Index: ${error.message}`, { cause: error })
  }
}

function encodeLayout(layout: Layout, bytesLength: number): Uint8Array {
  const { sections, runs, rows, deleteSetStart, deleteParts } = layout
  const writer = new ByteWriter(64 + sections.length * 8 + rows.length * 2 + deleteParts.length * 4)
  for (let i = 0; i < headBytes; i++) writer.uint8(i === 0 ? indexFormat : 0)
  writer.varUint(bytesLength)
  writer.varUint(sections.length > 0 ? sections[1]! : deleteSetStart).varUint(sections.length / sectionWidth)
  let row = 0
  for (let s = 0; s < sections.length; s += sectionWidth) {
    const structsStart = sections[s + 2]!
    const runCount = sections[s + 5]!
    writer.varUint(sections[s]!).varUint(structsStart - sections[s + 1]!)
    writer.varUint(sections[s + 3]! - structsStart).varUint(runCount)
    let clock = 0
    let position = structsStart
    for (let run = sections[s + 4]!; run < sections[s + 4]! + runCount; run++) {
      const [, first, end, start, stop, structs] = runs.slice(run * runWidth, (run + 1) * runWidth)
      writer.varUint(first! - clock).varUint(end! - first!)
      writer
        .varUint(start! - position)
        .varUint(stop! - start!)
        .varUint(structs!)
      let rowEnd = row
      while (rowEnd < rows.length && rows[rowEnd] === run) rowEnd += rowWidth
      writer.varUint((rowEnd - row) / rowWidth)
      let [rowClock, rowPosition, rowStructs] = [first!, start!, 0]
      for (; row < rowEnd; row += rowWidth) {
        writer.varUint(rows[row + 1]! - rowClock).varUint(rows[row + 2]! - rowPosition)
        writer.varUint(rows[row + 3]! - rowStructs)
        rowClock = rows[row + 1]!
        rowPosition = rows[row + 2]!
        rowStructs = rows[row + 3]!
      }
      clock = end!
      position = stop!
    }
  }
  writer.varUint((deleteParts.length > 0 ? deleteParts[1]! : bytesLength) - deleteSetStart)
  writer.varUint(deleteParts.length / deletePartWidth)
  for (let p = 0; p < deleteParts.length; p += deletePartWidth) {
    writer.varUint(deleteParts[p]!).varUint(deleteParts[p + 2]! - deleteParts[p + 1]!)
    writer.varUint(deleteParts[p + 3]! - deleteParts[p + 2]!).varUint(deleteParts[p + 4]!)
  }
  const index = writer.finish()
  new DataView(index.buffer, index.byteOffset).setUint32(1, checksum(index), true)
  return index
}

function decodeLayout(index: Uint8Array, bytesLength: number): Layout {
  if (index[0] !== indexFormat) throw new MalformedBytes(`unknown format ${index[0]}`)
  if (index.length < headBytes) throw new MalformedBytes('unexpected end')
  const view = new DataView(index.buffer, index.byteOffset, headBytes)
  if (view.getUint32(1, true) !== checksum(index)) throw new MalformedBytes('checksum does not match')
  const reader = new ByteReader(index, headBytes)
  if (reader.varUint() !== bytesLength) throw new MalformedBytes('made for other bytes')
  const sections: number[] = []
  const runs: number[] = []
  const rows: number[] = []
  let sectionStart = reader.varUint()
  for (let left = reader.varUint(); left > 0; left--) {
    const client = reader.varUint()
    const structsStart = sectionStart + reader.varUint()
    const sectionEnd = structsStart + reader.varUint()
    const runCount = reader.varUint()
    sections.push(client, sectionStart, structsStart, sectionEnd, runs.length / runWidth, runCount)
    let clock = 0
    let position = structsStart
    for (let r = 0; r < runCount; r++) {
      const first = clock + reader.varUint()
      const end = first + reader.varUint()
      const start = position + reader.varUint()
      const stop = start + reader.varUint()
      const structs = reader.varUint()
      const run = runs.length / runWidth
      runs.push(client, first, end, start, stop, structs)
      let [rowClock, rowPosition, rowStructs] = [first, start, 0]
      for (let rowsLeft = reader.varUint(); rowsLeft > 0; rowsLeft--) {
        rowClock += reader.varUint()
        rowPosition += reader.varUint()
        rowStructs += reader.varUint()
        rows.push(run, rowClock, rowPosition, rowStructs)
      }
      if (rowClock > end || rowPosition > stop || rowStructs > structs)
        throw new MalformedBytes('row outside of its run')
      clock = end
      position = stop
    }
    if (position > sectionEnd || clock > clockMax) throw new MalformedBytes('run outside of its section')
    sectionStart = sectionEnd
  }
  const deleteParts: number[] = []
  const deleteSetStart = sectionStart
  let partStart = deleteSetStart + reader.varUint()
  for (let left = reader.varUint(); left > 0; left--) {
    const client = reader.varUint()
    const rangesStart = partStart + reader.varUint()
    const end = rangesStart + reader.varUint()
    deleteParts.push(client, partStart, rangesStart, end, reader.varUint())
    partStart = end
  }
  if (partStart !== bytesLength) throw new MalformedBytes('delete set ends elsewhere than the bytes')
  if (reader.remaining > 0) throw new MalformedBytes('bytes after the end')
  return { sections, runs, rows, deleteSetStart, deleteParts }
}

function checksum(index: Uint8Array): number {
  let hash = 0x811c9dc5
  for (let i = headBytes; i < index.length; i++) hash = Math.imul(hash ^ index[i]!, 0x01000193)
  return hash >>> 0
}
