import { documentOf } from './compact.ts'

export function toJson(updates: readonly Uint8Array[]): Record<string, unknown> {
  return documentOf(updates).toJSON()
}
