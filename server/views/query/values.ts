/**
 * Values as PostgreSQL writes them, as JSON, and back.
 *
 *   boolean                     true, false
 *   smallint, integer           number
 *   real, double precision      number; NaN and the infinities are strings
 *   bigint, numeric             string: JSON's numbers would lose digits
 *   json, jsonb                 as they are
 *   arrays                      arrays, of these
 *   everything else             string, as PostgreSQL writes it
 *
 * A parameter is the other way round: an array becomes PostgreSQL's (for a `jsonb` array send it as text), an object JSON.
 */
import type { QueryValue } from '../../../core/protocol/query.ts'
import type { Parameter } from '../sql/sql.ts'

export type ToJson = (text: string) => string

const asIs: ToJson = (text) => text
const asText: ToJson = (text) => JSON.stringify(text)
const asFloat: ToJson = (text) => (/^-?\d/.test(text) ? text : JSON.stringify(text))
const asBoolean: ToJson = (text) => (text === 't' ? 'true' : 'false')

const byType = new Map<string, ToJson>([
  ['boolean', asBoolean],
  ['smallint', asIs],
  ['integer', asIs],
  ['real', asFloat],
  ['double precision', asFloat],
  ['json', asIs],
  ['jsonb', asIs],
])

/** `type` as PostgreSQL names it. */
export function toJson(type: string): ToJson {
  const element = /^(.*)\[\]$/s.exec(type)?.[1]
  // Boxes are parted by semicolons, and nobody else is.
  if (element !== undefined && element !== 'box') {
    const own = byType.get(element) ?? asText
    return (text) => arrayToJson(text, own)
  }
  return byType.get(type) ?? asText
}

/** `{1,NULL,"a \"b\""}`, `{{1},{2}}`, `[2:3]={1,2}`. */
function arrayToJson(text: string, element: ToJson): string {
  const parts: string[] = []
  // Bounds say from where it counts; JSON has no such thing.
  let at = text.startsWith('[') ? text.indexOf('=') + 1 : 0
  while (at < text.length) {
    const character = text[at]
    if (character === '{' || character === '}' || character === ',') {
      parts.push(character === '{' ? '[' : character === '}' ? ']' : ',')
      at++
    } else if (character === '"') {
      const quoted = /"((?:[^"\\]|\\.)*)"/sy
      quoted.lastIndex = at
      const [whole = '', inside = ''] = quoted.exec(text) ?? []
      if (whole === '') return JSON.stringify(text)
      parts.push(element(inside.replaceAll(/\\(.)/gs, '$1')))
      at += whole.length
    } else {
      const end = /[,}]/g
      end.lastIndex = at
      const stop = end.exec(text)?.index ?? text.length
      const plain = text.slice(at, stop)
      parts.push(plain === 'NULL' ? 'null' : element(plain))
      at = stop
    }
  }
  return parts.join('')
}

export function parameterOf(value: QueryValue): Parameter {
  if (Array.isArray(value)) return arrayLiteral(value)
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as Parameter)
}

function arrayLiteral(values: readonly QueryValue[]): string {
  const parts = values.map((value) => {
    if (value === null) return 'NULL'
    if (Array.isArray(value)) return arrayLiteral(value)
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
    return `"${text.replaceAll(/["\\]/g, '\\$&')}"`
  })
  return `{${parts.join(',')}}`
}
