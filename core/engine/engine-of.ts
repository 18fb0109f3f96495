/**
 * Whose bytes an update is, told by the bytes alone, so that no record needs a field for it: every chunk of Automerge's
 * begins with the same four bytes. A Yjs update that begins so (it would have 14,213 clients) is refused as malformed.
 */
import type { EngineName } from './engine.ts'

export const automergeMagic = Uint8Array.of(0x85, 0x6f, 0x4a, 0x83)

export function engineOf(update: Uint8Array): EngineName {
  return automergeMagic.every((byte, i) => update[i] === byte) ? 'automerge' : 'yjs'
}
