/**
 * How often each key of a map was written, deletes not counted: told by the operations of all changes, read when a map is first
 * asked for, and after that of those changes only that come.
 */
import { type Operation, operationsOf } from './operations.ts'
import type { Handle } from './wasm.ts'

export class WrittenKeys {
  private readonly handle: Handle
  private readonly counts = new Map<string, Map<string, number>>()

  constructor(handle: Handle) {
    this.handle = handle
  }

  of(map: string): ReadonlyMap<string, number> {
    let counts = this.counts.get(map)
    if (counts === undefined) {
      counts = new Map()
      this.counts.set(map, counts)
      for (const chunk of this.handle.getChanges([]))
        for (const operation of operationsOf(chunk)) count(operation, map, counts)
    }
    return counts
  }

  /** Of a change that came. */
  add(operation: Operation): void {
    for (const [map, counts] of this.counts) count(operation, map, counts)
  }
}

function count({ object, key, action }: Operation, map: string, counts: Map<string, number>): void {
  if (object === map && key !== null) counts.set(key, (counts.get(key) ?? 0) + (action === 'delete' ? 0 : 1))
}
