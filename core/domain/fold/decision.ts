/** Decisions as they stand in a document; the server wrote them, unless something slipped past the door. */
import type { Value } from '../../engine/live-document.ts'
import type { Decision } from './kind.ts'

/** Null for what is none. */
export function parseDecision(payload: Value): Decision | null {
  if (!isObject(payload)) return null
  const { accepted, reason, by, seen, claims } = payload
  if (typeof accepted !== 'boolean') return null
  if (reason !== undefined && typeof reason !== 'string') return null
  if (by !== undefined && typeof by !== 'string') return null
  if (seen !== undefined && !(isObject(seen) && Object.values(seen).every(Number.isInteger))) return null
  if (claims !== undefined && !(isObject(claims) && Object.values(claims).every(isTexts))) return null
  return payload as object as Decision
}

const isTexts = (value: Value): boolean =>
  Array.isArray(value) && value.every((text) => typeof text === 'string')

const isObject = (value: Value | undefined): value is { readonly [key: string]: Value } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
