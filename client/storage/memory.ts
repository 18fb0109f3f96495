/**
 * Storage that ends with the page, for Node and for apps that must leave nothing behind. One storage given to two
 * clients, one after the other, is like a reload.
 */
import type { AsideRecord, Batch, DocumentStorage, OutboxEntry, Position, Storage } from './storage.ts'

interface Kept {
  updates: Uint8Array[]
  added: Uint8Array[]
  position: Position
  outbox: OutboxEntry[]
  asides: AsideRecord[]
  lineage: number
}

export function createMemoryStorage(): Storage {
  const scopes = new Map<string, Map<string, Kept>>()
  const documentsOf = (scope: string): Map<string, Kept> => {
    const documents = scopes.get(scope) ?? new Map<string, Kept>()
    scopes.set(scope, documents)
    return documents
  }
  return {
    durable: false,
    open: (scope, document) => {
      const documents = documentsOf(scope)
      const kept = documents.get(document) ?? empty()
      documents.set(document, kept)
      return Promise.resolve(storageOf(kept))
    },
    unsaved: (scope) => {
      const unsaved = [...documentsOf(scope)].filter(([, { outbox }]) => outbox.length > 0)
      return Promise.resolve(unsaved.map(([document]) => document))
    },
    forget: (scope) => {
      scopes.delete(scope)
      return Promise.resolve()
    },
  }
}

function empty(): Kept {
  return { updates: [], added: [], position: { epoch: 0, offset: 0 }, outbox: [], asides: [], lineage: 0 }
}

function storageOf(kept: Kept): DocumentStorage {
  return {
    load: () => {
      kept.added = []
      const { updates, position, outbox, asides, lineage } = kept
      return Promise.resolve({
        updates: [...updates],
        position,
        outbox: outbox.toSorted(bySequence),
        aside: asides.at(-1) ?? null,
        lineage,
      })
    },
    write: (batch) => {
      kept.updates.push(...batch.updates)
      kept.added.push(...batch.updates)
      kept.position = batch.position ?? kept.position
      kept.outbox = [...kept.outbox.filter((entry) => !removes(batch, entry)), ...batch.put]
      return Promise.resolve()
    },
    outboxOf: (replica) =>
      Promise.resolve(kept.outbox.filter((entry) => entry.replica === replica).toSorted(bySequence)),
    compact: (merge) => {
      kept.updates = [merge(kept.added)]
      kept.added = []
      return Promise.resolve()
    },
    setAside: (make) => {
      const { asides, lineage } = kept
      const record = make(kept.added, kept.outbox)
      Object.assign(kept, empty(), { asides: [...asides, record], lineage: lineage + 1 })
      return Promise.resolve(record)
    },
    discardAside: () => {
      kept.asides.pop()
      return Promise.resolve(kept.asides.at(-1) ?? null)
    },
    close: () => Promise.resolve(),
  }
}

function removes({ remove }: Batch, { replica, sequence }: OutboxEntry): boolean {
  return remove.some((range) => range.replica === replica && range.from <= sequence && sequence <= range.to)
}

export function bySequence(one: OutboxEntry, other: OutboxEntry): number {
  if (one.replica !== other.replica) return one.replica < other.replica ? -1 : 1
  return one.sequence - other.sequence
}
