/** Leases within one process: a map with expiry. The clock is monotonic. */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Lease } from '../log.ts'

/** From so many on, each taking first drops the leases that expired without being released. */
const leasesSweep = 1000

export class Leases {
  private readonly untilMs = new Map<DocumentId, { readonly atMs: number }>()

  take(document: DocumentId, leaseMs: number): Lease | null {
    const nowMs = performance.now()
    const held = this.untilMs.get(document)
    if (held !== undefined && held.atMs > nowMs) return null
    if (this.untilMs.size >= leasesSweep)
      for (const [other, { atMs }] of this.untilMs) if (atMs <= nowMs) this.untilMs.delete(other)
    const mine = { atMs: nowMs + leaseMs }
    this.untilMs.set(document, mine)
    return {
      release: async () => {
        if (this.untilMs.get(document) === mine) this.untilMs.delete(document)
      },
    }
  }
}
