/** Leases within one process: a map with expiry. The clock is monotonic. */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Lease } from '../log.ts'

export class Leases {
  private readonly untilMs = new Map<DocumentId, { readonly atMs: number }>()

  take(document: DocumentId, leaseMs: number): Lease | null {
    const nowMs = performance.now()
    const held = this.untilMs.get(document)
    if (held !== undefined && held.atMs > nowMs) return null
    const mine = { atMs: nowMs + leaseMs }
    this.untilMs.set(document, mine)
    return {
      release: async () => {
        if (this.untilMs.get(document) === mine) this.untilMs.delete(document)
      },
    }
  }
}
