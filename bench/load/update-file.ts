/** Updates in a file, for loads in other processes: count (u32), lengths (u32 each), then the updates. */
import { readFileSync, writeFileSync } from 'node:fs'

export function writeUpdates(path: string, updates: readonly Uint8Array[]): void {
  const head = Buffer.alloc(4 + updates.length * 4)
  head.writeUInt32LE(updates.length, 0)
  for (const [i, update] of updates.entries()) head.writeUInt32LE(update.length, 4 + i * 4)
  writeFileSync(path, Buffer.concat([head, ...updates]))
}

export function readUpdates(path: string): Buffer[] {
  const bytes = readFileSync(path)
  const count = bytes.readUInt32LE(0)
  let at = 4 + count * 4
  return Array.from({ length: count }, (_, i) => {
    const from = at
    at += bytes.readUInt32LE(4 + i * 4)
    return bytes.subarray(from, at)
  })
}
