/**
 * Updates that pass validation and that no Yjs would make: a small grammar of structs of a few clients, filled
 * with numbers from fast-check. Items lie under items of any kind, in roots of any name and kind, with
 * origins in other parents, on both sides, in circles between clients, before or past what is there;
 * clients say different things at the same clocks; there are gaps, and deletes of what does not exist.
 */
import fc from 'fast-check'
import { ByteWriter } from '../../../core/bytes.ts'

type Choice = readonly [kind: number, client: number, clock: number, other: number, place: number]

export const hostileUpdates = fc
  .array(
    fc.tuple(
      fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 12 }), structs()), { maxLength: 3 }),
      fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 20 }), fc.integer({ min: 1, max: 6 })), {
        maxLength: 2,
      }),
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map((updates) => updates.map(([sections, deletes]) => encode(sections, deletes)))

function structs(): fc.Arbitrary<Choice[]> {
  const choice = fc.tuple(
    fc.nat({ max: 99 }),
    fc.nat({ max: 2 }),
    fc.nat({ max: 16 }),
    fc.nat({ max: 2 }),
    fc.nat({ max: 16 }),
  )
  return fc.array(choice, { minLength: 1, maxLength: 10 })
}

const roots = ['text', 'map', 'array', 'xml', '', '__proto__']
const keys = ['a', '', '__proto__', 'constructor']

function encode(
  sections: readonly (readonly [client: number, clock: number, structs: readonly Choice[]])[],
  deletes: readonly (readonly [client: number, clock: number, length: number])[],
): Uint8Array {
  const writer = new ByteWriter()
  const bySection = [...new Map(sections.map((section) => [section[0], section])).values()]
  writer.varUint(bySection.length)
  for (const [client, start, choices] of bySection) {
    writer.varUint(choices.length).varUint(client).varUint(start)
    let clock = start
    for (const choice of choices) clock += struct(writer, client, clock, choice)
  }
  const byClient = [...new Map(deletes.map((range) => [range[0], range])).values()]
  writer.varUint(byClient.length)
  for (const [client, clock, length] of byClient)
    writer.varUint(client).varUint(1).varUint(clock).varUint(length)
  return writer.finish()
}

/** Gives its length. */
function struct(
  writer: ByteWriter,
  client: number,
  clock: number,
  [kind, one, oneClock, other, otherClock]: Choice,
): number {
  const length = 1 + (otherClock % 3)
  if (kind < 4) {
    writer.uint8(kind < 2 ? 0 : 10).varUint(length)
    return length
  }
  const ref = 1 + (kind % 9)
  const id = (of: number, at: number) => {
    // Its own client only before itself: validation refuses the rest.
    if (of === client && at >= clock) {
      if (clock === 0) return [(client + 1) % 3, at] as const
      return [of, at % clock] as const
    }
    return [of, at] as const
  }
  const form = (kind * 7 + one) % 6
  const hasSub = (kind + otherClock) % 3 === 0 ? 0x20 : 0
  const write = ([of, at]: readonly [number, number]) => void writer.varUint(of).varUint(at)
  if (form < 3) {
    // Left, right, both.
    const flags = form === 0 ? 0x80 : form === 1 ? 0x40 : 0xc0
    writer.uint8(ref | flags | hasSub)
    if (form !== 1) write(id(one, oneClock))
    if (form !== 0) write(id(other, otherClock))
  } else {
    writer.uint8(ref | hasSub)
    if (form === 3) writer.varUint(1).varString(roots[oneClock % roots.length]!)
    else {
      writer.varUint(0)
      write(id(one, oneClock))
    }
    if (hasSub !== 0) writer.varString(keys[otherClock % keys.length]!)
  }
  return content(writer, ref, length, otherClock)
}

function content(writer: ByteWriter, ref: number, length: number, choice: number): number {
  switch (ref) {
    case 1:
      writer.varUint(length)
      return length
    case 2:
      writer.varUint(length)
      for (let i = 0; i < length; i++) writer.varString(['undefined', '[1]', '{"a":"b"}'][choice % 3]!)
      return length
    case 3:
      writer.varBytes(new Uint8Array(choice))
      return 1
    case 4: {
      const text = ['a', '😀', 'bcd', 'é\u0000'][choice % 4]!
      writer.varString(text)
      return text.length
    }
    case 5:
      writer.varString(['null', '{"x":1}', '"s"', '[[]]'][choice % 4]!)
      return 1
    case 6:
      writer.varString(['bold', '__proto__', 'ychange', ''][choice % 4]!)
      writer.varString(['true', 'null', '{"toString":1}', '[]'][(choice >> 2) % 4]!)
      return 1
    case 7: {
      const type = choice % 7
      writer.varUint(type)
      if (type === 3 || type === 5) writer.varString(['p', '', 'script'][choice % 3]!)
      return 1
    }
    case 8:
      writer.varUint(length)
      for (let i = 0; i < length; i++) writer.uint8(120 + ((choice + i) % 2))
      return length
    default:
      writer.varString(['guid', ''][choice % 2]!)
      writer.uint8(118)
      if (choice % 3 === 0) writer.varUint(0)
      else if (choice % 3 === 1) writer.varUint(1).varString('autoLoad').uint8(120)
      else writer.varUint(2).varString('meta').uint8(117).varUint(0).varString('gc').uint8(121)
      return 1
  }
}
