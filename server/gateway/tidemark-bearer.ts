/**
 * Who a tidemark.v1 connection stands for.
 *
 *   stranger ──a good token, or a document that was opened──▶ known ──its token ends──▶ over ──another token──▶ known
 *
 * - Somebody is known for good: what strangers may not do, they have shown that they may. What they may do with documents
 *   is asked for each of them.
 * - Known without an identity is who has a token that is good for documents only, as an authorisation service may say,
 *   or only tokens of documents.
 * - Nobody needs a connection whose token is over and on which no document is open; it may stay for the time that a
 *   stranger has.
 */
import type { DocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Gatekeeper, Identity } from '../access/access.ts'

export interface BearerContext {
  readonly gatekeeper: Gatekeeper
  /** A session of this user begins, throws `rate_limited`; ends. */
  readonly enterUser: (subject: string) => void
  readonly leaveUser: (subject: string) => void
}

export interface BearerListener {
  /** The token ends in so long. */
  hint(milliseconds: number): void
  /** It is not what it was. */
  refused(error: unknown): void
}

const hintBeforeMs = 60_000

export class Bearer {
  private readonly context: BearerContext
  private readonly listener: BearerListener
  private held: string | null
  private who: Identity | null = null
  private someone = false
  /** Counted among the sessions of its user. */
  private subject: string | null = null
  private hinted = false
  private renewing = false
  private overSinceMs: number | null = null

  constructor(token: string | null, context: BearerContext, listener: BearerListener) {
    this.held = token
    this.context = context
    this.listener = listener
  }

  get token(): string | null {
    return this.held
  }

  get identity(): Identity | null {
    return this.who
  }

  get known(): boolean {
    return this.someone
  }

  /** Null: it is good for documents only. Throws `rate_limited`. */
  become(token: string | null, identity: Identity | null): void {
    this.held = token
    this.who = identity
    this.hinted = false
    this.overSinceMs = null
    if (identity === null) return
    this.recognise(identity)
    this.hint(Date.now())
  }

  /** By the connection's token, or by one of a document. Throws `rate_limited`. */
  recognise({ subject }: Identity): void {
    this.someone = true
    if (this.subject === subject || (this.subject !== null && this.who?.subject !== subject)) return
    this.context.enterUser(subject)
    if (this.subject !== null) this.context.leaveUser(this.subject)
    this.subject = subject
  }

  /** As `Gatekeeper.identify`, with a document's own token, or the connection's when that is ''. */
  identify(token: string, document: DocumentId): Promise<Identity> {
    return this.context.gatekeeper.identify(token === '' ? this.held : token, document)
  }

  beat(nowMs: number): void {
    this.hint(nowMs)
    const { who } = this
    if (who === null || who.expiresMs === null || nowMs < who.expiresMs) return
    if (who.renewable) return this.renew()
    this.who = null
    this.overSinceMs = nowMs
  }

  /** Its token has been over for so long, and nothing else has kept it. `needed`: something does. */
  overFor(nowMs: number, needed: boolean): number {
    if (this.overSinceMs === null) return 0
    if (needed) this.overSinceMs = nowMs
    return nowMs - this.overSinceMs
  }

  left(): void {
    if (this.subject !== null) this.context.leaveUser(this.subject)
    this.subject = null
  }

  private hint(nowMs: number): void {
    const { who } = this
    if (who === null || who.expiresMs === null || who.renewable || this.hinted) return
    const milliseconds = who.expiresMs - nowMs
    if (milliseconds > hintBeforeMs) return
    this.hinted = true
    this.listener.hint(Math.max(0, Math.ceil(milliseconds)))
  }

  private renew(): void {
    const { held } = this
    if (this.renewing) return
    this.renewing = true
    identifyConnection(this.context, held)
      .then((identity) => {
        if (held === this.held) this.who = identity
      })
      .catch((error: unknown) => this.listener.refused(error))
      .finally(() => {
        this.renewing = false
      })
  }
}

/**
 * Who the token of a connection stands for. Null when an authorisation service says that it is good for documents only:
 * each of them is asked for anyway.
 */
export async function identifyConnection(
  { gatekeeper }: Pick<BearerContext, 'gatekeeper'>,
  token: string | null,
): Promise<Identity | null> {
  try {
    return await gatekeeper.identify(token, null)
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'forbidden') return null
    throw error
  }
}
