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
    if (!scopes.has(scope)) scopes.set(scope, new Map())
    return scopes.get(scope)!
  }
  return {
    durable: false,
    open: async (scope, document) => {
      const documents = documentsOf(scope)
      if (!documents.has(document)) documents.set(document, empty())
      return storageOf(documents.get(document)!)
    },
    unsaved: async (scope) => {
      const unsaved = [...documentsOf(scope)].filter(([, { outbox }]) => outbox.length > 0)
      return unsaved.map(([document]) => document)
    },
    forget: async (scope) => {
      scopes.delete(scope)
    },
  }
}

function empty(): Kept {
  return { updates: [], added: [], position: { epoch: 0, offset: 0 }, outbox: [], asides: [], lineage: 0 }
}

function storageOf(kept: Kept): DocumentStorage {
  return {
    load: async () => {
      kept.added = []
      const { asides, outbox, updates } = kept
      return {
        ...kept,
        updates: [...updates],
        outbox: outbox.toSorted(bySequence),
        aside: asides.at(-1) ?? null,
      }
    },
    write: async (batch) => {
      kept.updates.push(...batch.updates)
      kept.added.push(...batch.updates)
      kept.position = batch.position ?? kept.position
      kept.outbox = [...kept.outbox.filter((entry) => !removes(batch, entry)), ...batch.put]
    },
    outboxOf: async (replica) =>
      kept.outbox.filter((entry) => entry.replica === replica).toSorted(bySequence),
    compact: async (merge) => {
      kept.updates = [merge(kept.added)]
      kept.added = []
    },
    setAside: async (make) => {
      const { asides, lineage } = kept
      const record = make(kept.added, kept.outbox)
      Object.assign(kept, empty(), { asides: [...asides, record], lineage: lineage + 1 })
      return record
    },
    discardAside: async () => {
      kept.asides.pop()
      return kept.asides.at(-1) ?? null
    },
    close: async () => undefined,
  }
}

function removes({ remove, put }: Batch, { replica, sequence }: OutboxEntry): boolean {
  return (
    remove.some((range) => range.replica === replica && range.from <= sequence && sequence <= range.to) ||
    put.some((entry) => entry.replica === replica && entry.sequence === sequence)
  )
}

export function bySequence(one: OutboxEntry, other: OutboxEntry): number {
  if (one.replica !== other.replica) return one.replica < other.replica ? -1 : 1
  return one.sequence - other.sequence
}
