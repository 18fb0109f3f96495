import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isJson, jsonDepthMax } from '../../../core/protocol/json-scan.ts'

const utf8 = new TextEncoder()

test('accepts every value that JSON.stringify writes', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2), (value, indent) => {
      expect(isJson(utf8.encode(JSON.stringify(value, null, indent)))).toBe(true)
    }),
    { numRuns: 1_000 },
  )
})

test('agrees with JSON.parse over changed texts', () => {
  const changed = fc
    .tuple(fc.jsonValue(), fc.nat(), fc.constantFrom(...'{}[]",:\\ueE+-.0123456789tfn \n\u0001é'))
    .map(([value, at, character]) => {
      const text = JSON.stringify(value)
      const position = at % (text.length + 1)
      return text.slice(0, position) + character + text.slice(position + 1)
    })
  fc.assert(
    fc.property(changed, (text) => {
      const bytes = utf8.encode(text)
      expect(isJson(bytes)).toBe(parses(new TextDecoder().decode(bytes)))
    }),
    { numRuns: 5_000 },
  )
})

test('agrees with a fatal UTF-8 decoder over random bytes in a string', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 6 }), (inside) => {
      const bytes = Uint8Array.of(0x22, ...inside, 0x22)
      let text: string | null = null
      try {
        text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
      } catch {
        // Not UTF-8: the scan must refuse it too.
      }
      expect(isJson(bytes)).toBe(text !== null && parses(text))
    }),
    { numRuns: 20_000 },
  )
})

test('refuses nesting past its limit without using the stack', () => {
  const nested = (depth: number): Uint8Array => utf8.encode('['.repeat(depth) + ']'.repeat(depth))
  expect(isJson(nested(jsonDepthMax))).toBe(true)
  expect(isJson(nested(1_000_000))).toBe(false)
})

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
