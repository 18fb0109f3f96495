/**
 * Who may do what: the words that the doors and this folder share. A door asks the gatekeeper for an
 * identity once for each session or request, then the identity for its access to each document; it never
 * looks at a token itself.
 *
 * - No identity, no access: what cannot be verified, or asked in time, is refused (P8).
 * - Rights end with `expiresMs`. Whoever holds a session closes it then, or, when it is `renewable`, calls
 *   `identify` again with the same token and goes on with the new identity.
 * - A revocation ends sessions that exist (`Revocations.onRevoked`) and refuses later ones (`identify`).
 *
 * Rejected: rights per operation (read, comment, delete …): three steps are what people get right.
 */
import type { DocumentId } from '../../core/document-id.ts'

/** Each includes those before it. */
export const accessLevels = ['none', 'read', 'write', 'admin'] as const
export type Access = (typeof accessLevels)[number]

/** Whether `held` includes `needed`. */
export function includes(held: Access, needed: Access): boolean {
  return accessLevels.indexOf(held) >= accessLevels.indexOf(needed)
}

export interface Identity {
  /** '' in open mode only. */
  readonly subject: string
  readonly roles: readonly string[]
  /** As verified, or as the authorisation service answered (with `sub`); {} in open mode. */
  readonly claims: Readonly<Record<string, unknown>>
  /** When the token was issued, if that is known; revocations need it. */
  readonly issuedMs: number | null
  /** When its rights end, clock tolerance included. Null: never (open mode). */
  readonly expiresMs: number | null
  /**
   * True: an answer of the authorisation service, which is valid for a short time only: at `expiresMs` call
   * `identify` again, with the same token and document. False: the session ends at `expiresMs` with `token_expired`.
   */
  readonly renewable: boolean
  accessTo(document: DocumentId): Access
  /** To every document there is or will be: what patterns that are `**` give. Who has `admin` administers the server. */
  readonly accessToAll: Access
  /** Patterns of what it may read, sorted: the same rights are the same list. */
  readonly readable: readonly string[]
  /** May it list documents with this prefix at all; entries are filtered with `accessTo` anyway. */
  mayList(prefix: string): boolean
}

export interface Gatekeeper {
  /** The revocations it was given are started before, and closed after it, by whoever made them. */
  start(): Promise<void>
  close(): Promise<void>
  /**
   * Rejects with TidemarkError `unauthenticated`, `token_expired`, `revoked`, `forbidden` (the authorisation
   * service answered 403) or `authorization_unavailable`. `document` null: a request about none.
   */
  identify(token: string | null, document: DocumentId | null): Promise<Identity>
  /** May a page of this origin use the server; `host` is the request's Host header. Synchronous, no I/O. */
  allowsOrigin(origin: string | undefined, host: string | undefined): boolean
}

export type Revocation =
  | { readonly kind: 'subject'; readonly subject: string; readonly atMs: number }
  | { readonly kind: 'document'; readonly document: DocumentId; readonly atMs: number }

export type RevocationTarget = { readonly subject: string } | { readonly document: DocumentId }

export interface Revocations {
  /** Loads and follows; the log is started before, and closed after it. */
  start(): Promise<void>
  close(): Promise<void>
  /**
   * Ends a user's or a document's sessions on all nodes. Resolves when that is durable, and refused here; listeners
   * hear of it when it comes back from the log. Rejects as `Log.append`.
   */
  end(target: RevocationTarget, author?: string): Promise<void>
  /** Whether tokens of this subject that were issued then (null: unknown) are refused. */
  refuses(subject: string, issuedMs: number | null): boolean
  /** Each revocation once, those of this node included. Returns what ends the listening. */
  onRevoked(listener: (revocation: Revocation) => void): () => void
}

/** Whether a session of this identity, in this document (null: in none), is one that the revocation ends. */
export function isEnded(revocation: Revocation, identity: Identity, document: DocumentId | null): boolean {
  switch (revocation.kind) {
    case 'document':
      return revocation.document === document
    case 'subject':
      return revocation.subject === identity.subject && (identity.issuedMs ?? -Infinity) <= revocation.atMs
  }
}
