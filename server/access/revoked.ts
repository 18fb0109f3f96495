/**
 * What has been revoked, in memory. Subjects are kept for `keepMs`, at most `subjectsMax` of them, the latest;
 * whoever issues tokens that live longer can see a revoked one come back, so docs/security.md warns of it.
 * Of documents only the latest are kept, and only so that a node that was away learns what it missed.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { Revocation } from './access.ts'
import type { StoredRevocations } from './revocation-codec.ts'

export const revokedLimits = { subjectsMax: 10_000, documentsMax: 1_000 }
export type RevokedLimits = typeof revokedLimits

export class Revoked {
  private readonly subjects = new Map<string, number>()
  private readonly documents = new Map<DocumentId, number>()
  private readonly keepMs: number
  private readonly limits: RevokedLimits

  constructor(keepMs: number, limits: RevokedLimits) {
    this.keepMs = keepMs
    this.limits = limits
  }

  /** Issued in the same millisecond counts as before, and so does an unknown time. */
  refuses(subject: string, issuedMs: number | null, nowMs: number): boolean {
    const atMs = this.subjects.get(subject)
    return atMs !== undefined && nowMs - atMs < this.keepMs && (issuedMs ?? -Infinity) <= atMs
  }

  /** False when it says nothing new. */
  add(revocation: Revocation, nowMs: number): boolean {
    const { subjectsMax, documentsMax } = this.limits
    return revocation.kind === 'subject'
      ? this.keep(this.subjects, revocation.subject, revocation.atMs, subjectsMax, nowMs)
      : this.keep(this.documents, revocation.document, revocation.atMs, documentsMax, nowMs)
  }

  /** Subjects that would be refused still, and have no place. */
  get full(): boolean {
    return this.subjects.size >= this.limits.subjectsMax
  }

  stored(nowMs: number): StoredRevocations {
    const lasting = ([, atMs]: readonly [string, number]): boolean => nowMs - atMs < this.keepMs
    return {
      subjects: [...this.subjects].filter(lasting),
      documents: [...this.documents].filter(lasting),
    }
  }

  private keep<Key>(map: Map<Key, number>, key: Key, atMs: number, max: number, nowMs: number): boolean {
    const before = map.get(key) ?? -Infinity
    // Again at the end: a map is in the order of insertion, so the one that was longest ago comes first.
    map.delete(key)
    map.set(key, Math.max(before, atMs))
    for (const [eldest, eldestMs] of map) {
      if (map.size <= max && nowMs - eldestMs < this.keepMs) break
      map.delete(eldest)
    }
    return atMs > before
  }
}
