import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { ByteWriter } from '../../../core/bytes.ts'
import { valueNestingMax } from '../../../core/engine/yjs/struct-scanner.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { histories, logChoices, logOf } from './random-documents.ts'
import { runs } from './support.ts'

const limits = { updateBytesMax: 1 << 20 }
const accepts = (update: Uint8Array) => {
  try {
    yjsEngine.validate(update, limits)
    return true
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'malformed_update') return false
    throw error
  }
}

test('every update that Yjs makes is accepted, and its outline is what Yjs decodes', () => {
  fc.assert(
    fc.property(histories, logChoices, (history, choices) => {
      for (const update of [...history.updates, ...logOf(history, choices)]) {
        const { structs, deletes } = yjsEngine.validate(update, limits)
        const decoded = Y.decodeUpdate(update)
        const expected: number[] = []
        for (const struct of decoded.structs) {
          if (struct instanceof Y.Skip) continue
          const { client, clock } = struct.id
          const last = expected.length - 3
          if (expected[last] === client && expected[last + 2] === clock)
            expected[last + 2] = clock + struct.length
          else expected.push(client, clock, clock + struct.length)
        }
        expect(structs).toEqual(expected)
        expect(deletes).toEqual(
          [...decoded.ds.clients].flatMap(([client, items]) =>
            items.flatMap(({ clock, len }) => [client, clock, clock + len]),
          ),
        )
      }
    }),
    runs(150),
  )
})

test('the empty update is accepted', () => {
  expect(yjsEngine.validate(Uint8Array.of(0, 0), limits)).toEqual({ structs: [], deletes: [] })
})

test('an update over the limit is refused by its size', () => {
  expect(() => yjsEngine.validate(new Uint8Array(11), { updateBytesMax: 10 })).toThrow(
    expect.objectContaining({ code: 'update_too_large' }),
  )
})

test('truncated and extended updates are refused', () => {
  fc.assert(
    fc.property(histories, ({ updates, documents }) => {
      for (const update of [...updates.slice(0, 3), Y.encodeStateAsUpdate(documents[0]!)]) {
        for (let length = 0; length < Math.min(update.length, 300); length++)
          expect(accepts(update.subarray(0, length))).toBe(false)
        expect(accepts(Uint8Array.from([...update, 0]))).toBe(false)
      }
    }),
    runs(40),
  )
})

const mutated = fc
  .tuple(
    histories,
    fc.nat(),
    fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 }), fc.nat({ max: 3 })), { minLength: 1, maxLength: 3 }),
  )
  .map(([{ updates, documents }, which, changes]) => {
    const all = [...updates, Y.encodeStateAsUpdate(documents[0]!)]
    const bytes = [...all[which % all.length]!]
    for (const [place, value, kind] of changes) {
      const at = place % (bytes.length + 1)
      if (kind === 0) bytes[at] = value
      else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << (value % 8))
      else if (kind === 2) bytes.splice(at, 0, value)
      else bytes.splice(at, 1)
    }
    return { bytes: Uint8Array.from(bytes), others: all }
  })

test('what survives damage to an update can be applied, kept pending, merged and encoded', () => {
  let accepted = 0
  fc.assert(
    fc.property(mutated, ({ bytes, others }) => {
      if (!accepts(bytes)) return
      accepted++
      for (const order of [[bytes], [bytes, ...others], [...others, bytes], [bytes, bytes]]) {
        const document = new Y.Doc()
        for (const update of order) Y.applyUpdate(document, update)
        const state = Y.encodeStateAsUpdate(document)
        yjsEngine.validate(state, limits)
        Y.mergeUpdates(order)
        yjsEngine.validate(yjsEngine.merge(order), limits)
        Y.applyUpdate(new Y.Doc(), state)
        yjsEngine.compact(order)
        yjsEngine.toJson(order)
      }
    }),
    runs(200),
  )
  expect(accepted).toBeGreaterThan(0)
})

test('arbitrary bytes are refused with a code or are well-formed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      if (accepts(bytes)) Y.applyUpdate(new Y.Doc(), bytes)
    }),
    runs(3000),
  )
})

/** An update with one section of client 1 from clock 0. */
function section(structs: number, write: (writer: ByteWriter) => void, clock = 0): Uint8Array {
  const writer = new ByteWriter().varUint(1).varUint(structs).varUint(1).varUint(clock)
  write(writer)
  return writer.varUint(0).finish()
}
const item = (ref: number, write: (writer: ByteWriter) => void) =>
  section(1, (writer) => {
    writer.uint8(ref).varUint(1).varString('root')
    write(writer)
  })
const deletes = (...numbers: number[]) =>
  numbers.reduce((writer, n) => writer.varUint(n), new ByteWriter()).finish()
const bytes =
  (...numbers: number[]) =>
  (writer: ByteWriter) => {
    writer.raw(Uint8Array.from(numbers))
  }
const string = (text: string) => (writer: ByteWriter) => {
  writer.varString(text)
}

test.each<[string, Uint8Array]>([
  ['unknown content', item(11, bytes(1))],
  ['Skip with flags', section(1, bytes(0x8a, 1, 0, 1))],
  ['GC with flags', section(1, bytes(0x20, 1))],
  ['unknown type', item(7, bytes(7))],
  ['unknown kind of parent', section(1, bytes(4, 2, 1, 0, 1, 0x61))],
  ['empty string', item(4, bytes(0))],
  ['GC of length zero', section(1, bytes(0, 0))],
  ['Skip of length zero', section(2, bytes(0, 1, 10, 0))],
  ['Deleted of length zero', item(1, bytes(0))],
  ['Any without values', item(8, bytes(0))],
  ['string that is not UTF-8', item(4, bytes(1, 0xff))],
  ['overlong UTF-8', item(4, bytes(2, 0xc0, 0x80))],
  ['surrogate in UTF-8', item(4, bytes(3, 0xed, 0xa0, 0x80))],
  ['past U+10FFFF', item(4, bytes(4, 0xf4, 0x90, 0x80, 0x80))],
  ['cut UTF-8', item(4, bytes(2, 0xe2, 0x82))],
  ['unknown kind of value', item(8, bytes(1, 115))],
  ['__proto__ in a value', item(8, bytes(1, 118, 1, 9, ...Buffer.from('__proto__'), 118, 0))],
  ['embed that is no JSON', item(5, string('{'))],
  ['undefined embed', item(5, string('undefined'))],
  ['JSON nested too deep', item(5, string('['.repeat(200) + ']'.repeat(200)))],
  ['value nested too deep', item(8, bytes(1, ...Array(300).fill([117, 1]).flat(), 126))],
  ['subdocument without options', item(9, bytes(1, 0x67, 126))],
  ['subdocument with another guid', item(9, bytes(1, 0x67, 118, 1, 4, ...Buffer.from('guid'), 125, 1))],
  ['reference to itself', section(1, bytes(0x84, 1, 0, 1, 0x61))],
  ['reference to later', section(2, bytes(0, 1, 0x44, 1, 9, 1, 0x61))],
  ['parent that is itself', section(1, bytes(4, 0, 1, 0, 1, 0x61))],
  ['clock past 2^52', section(1, bytes(0, 2), 2 ** 52 - 2)],
  ['length past 2^52', section(1, (writer) => void writer.uint8(0).varUint(2 ** 52))],
  ['integer past 2^53', section(1, bytes(0, 255, 255, 255, 255, 255, 255, 255, 255, 1))],
  ['2^40 structs', deletes(1, 2 ** 40, 1, 0, 0, 1)],
  ['2^40 sections', deletes(2 ** 40, 0)],
  ['2^40 values', item(8, (writer) => void writer.varUint(2 ** 40))],
  ['2^40 deleted ranges', deletes(0, 1, 1, 2 ** 40, 0, 1)],
  ['string of 2^40 bytes', item(4, (writer) => void writer.varUint(2 ** 40))],
  ['a client twice', deletes(2, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0)],
  ['a client twice, out of order', deletes(3, 1, 1, 0, 0, 1, 1, 2, 0, 0, 1, 1, 1, 1, 0, 1, 0)],
  ['deletes of a client twice', deletes(0, 2, 1, 1, 0, 1, 1, 1, 5, 1)],
  ['deletes out of order', deletes(0, 1, 1, 2, 5, 1, 0, 1)],
  ['overlapping deletes', deletes(0, 1, 1, 2, 0, 3, 2, 1)],
  ['delete of length zero', deletes(0, 1, 1, 1, 0, 0)],
])('refused: %s', (_name, update) => {
  expect(accepts(update)).toBe(false)
})

test.each<[string, Uint8Array]>([
  [
    'JSON content with undefined',
    item(2, (writer) => void writer.varUint(2).varString('undefined').varString('[1]')),
  ],
  ['clients in ascending order', deletes(2, 1, 1, 0, 0, 1, 1, 2, 0, 0, 1, 0)],
  ['a Skip at the end', section(2, bytes(0, 1, 10, 5))],
  ['a section without structs', deletes(1, 0, 1, 0, 0)],
  ['a value at the nesting limit', item(8, bytes(1, ...Array(valueNestingMax).fill([117, 1]).flat(), 126))],
  [
    'options that other implementations write',
    item(9, bytes(1, 0x67, 118, 1, 8, ...Buffer.from('encoding'), 122, 0, 0, 0, 0, 0, 0, 0, 1)),
  ],
  ['the last clock', section(1, bytes(0, 1), 2 ** 52 - 2)],
])('accepted: %s', (_name, update) => {
  expect(accepts(update)).toBe(true)
  const document = new Y.Doc()
  Y.applyUpdate(document, update)
  Y.encodeStateAsUpdate(document)
})
