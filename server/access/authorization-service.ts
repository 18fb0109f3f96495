/**
 * Asks AUTHORIZE_URL who somebody is and what they may do. docs/security.md has the contract:
 *
 *   POST {"token": "…", "document": "deals/1" | null}
 *   200  {"subject": "ann", "roles"?: […], "documents"?: [{match, access}, …], "expiresSeconds"?, "issuedAt"?}
 *   401  the token is not good · 403  it is, but not for this
 *
 * - Everything else (other statuses, redirects, an answer that is too large or not as above, silence) counts as
 *   no answer: `authorization_unavailable`, and nobody gets in (P8).
 * - An answer holds for AUTHORIZE_CACHE_SECONDS at most, counted from when it was asked, a refusal for
 *   `refusalMs`, no answer not at all. The same question is asked once at a time, whoever asks it.
 * - The timeout covers everything, waiting for one of `askedMax` places included. A connection that ended
 *   before an answer came (the service was restarted) is tried once more.
 * - The address is never redirected: the token goes to whom the configuration names.
 */
import { z } from 'zod'
import type { DocumentId } from '../../core/document-id.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import type { Logger } from '../logger.ts'
import type { Identity } from './access.ts'
import { ExpiringCache } from './expiring-cache.ts'
import { grantsSchema, rightsOf, rolesSchema, subjectSchema } from './grants.ts'
import { failureOf, limitedBody } from './limited-body.ts'
import { Slots } from './slots.ts'

export const authorizationLimits = {
  askedMax: 64,
  waitingMax: 2_048,
  answerBytesMax: 256 * 1024,
  cacheBytesMax: 32 * 1024 * 1024,
  refusalMs: 5_000,
  /** Failures are logged once in so long, with their number. */
  logMs: 1_000,
}
export type AuthorizationLimits = typeof authorizationLimits

const answerSchema = z.looseObject({
  subject: subjectSchema,
  roles: rolesSchema,
  documents: grantsSchema,
  expiresSeconds: z.number().min(1).optional(),
  issuedAt: z.number().min(0).max(253_402_300_799).optional(),
})

type Refusal = 'unauthenticated' | 'forbidden'
type Verdict = { readonly identity: Identity; readonly bytes: number } | { readonly refusal: Refusal }

export interface AuthorizationOptions {
  readonly url: string
  readonly cacheMs: number
  readonly timeoutMs: number
  readonly logger: Logger
  readonly nowMs: () => number
  readonly limits?: Partial<AuthorizationLimits>
}

export class AuthorizationService {
  private readonly options: AuthorizationOptions
  private readonly limits: AuthorizationLimits
  private readonly verdicts: ExpiringCache<Verdict>
  private readonly asked = new Map<string, Promise<Verdict>>()
  private readonly slots: Slots
  private readonly closing = new AbortController()
  private failures = 0
  private loggedMs = -Infinity

  constructor(options: AuthorizationOptions) {
    this.options = options
    this.limits = { ...authorizationLimits, ...options.limits }
    this.verdicts = new ExpiringCache(this.limits.cacheBytesMax)
    this.slots = new Slots(this.limits.askedMax, this.limits.waitingMax)
  }

  /** `tokenKey` stands for the token in the cache, which keeps no tokens; all keys have one length. */
  async identify(tokenKey: string, token: string, document: DocumentId | null): Promise<Identity> {
    const key = tokenKey + (document ?? '')
    const verdict =
      this.verdicts.get(key, this.options.nowMs()) ??
      (await (this.asked.get(key) ?? this.begin(key, token, document)))
    if ('identity' in verdict) return verdict.identity
    throw new TidemarkError(verdict.refusal, refusalTexts[verdict.refusal])
  }

  close(): void {
    this.closing.abort(new TidemarkError('shutting_down', 'The server is closing'))
    this.verdicts.clear()
  }

  private begin(key: string, token: string, document: DocumentId | null): Promise<Verdict> {
    const askedMs = this.options.nowMs()
    const asking = this.ask(token, document, askedMs)
      .then((verdict) => {
        const weight = 2 * key.length + 512
        if ('identity' in verdict)
          this.verdicts.set(key, verdict, verdict.identity.expiresMs ?? askedMs, weight + 4 * verdict.bytes)
        else this.verdicts.set(key, verdict, askedMs + this.refusalMs, weight)
        return verdict
      })
      .finally(() => this.asked.delete(key))
    this.asked.set(key, asking)
    return asking
  }

  private get refusalMs(): number {
    return Math.min(this.limits.refusalMs, this.options.cacheMs)
  }

  private async ask(token: string, document: DocumentId | null, askedMs: number): Promise<Verdict> {
    const timeout = AbortSignal.timeout(this.options.timeoutMs)
    const signal = AbortSignal.any([timeout, this.closing.signal])
    try {
      const release = await this.slots.take(signal)
      try {
        const response = await this.post(JSON.stringify({ token, document }), signal)
        return await this.read(response, askedMs)
      } finally {
        release()
      }
    } catch (error) {
      this.failed(timeout.aborted ? `no answer within ${this.options.timeoutMs} ms` : failureOf(error))
      throw new TidemarkError('authorization_unavailable', 'The authorisation service gave no usable answer')
    }
  }

  private async post(body: string, signal: AbortSignal): Promise<Response> {
    const request = {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      redirect: 'manual' as const,
      body,
      signal,
    }
    try {
      return await fetch(this.options.url, request)
    } catch (error) {
      if (signal.aborted) throw error
      return fetch(this.options.url, request)
    }
  }

  private async read(response: Response, askedMs: number): Promise<Verdict> {
    if (response.status !== 200) {
      await response.body?.cancel()
      if (response.status === 401) return { refusal: 'unauthenticated' }
      if (response.status === 403) return { refusal: 'forbidden' }
      throw new Error(`Status ${response.status}`)
    }
    const body = await limitedBody(response, this.limits.answerBytesMax)
    const answer: unknown = JSON.parse(body)
    const parsed = answerSchema.safeParse(answer)
    if (!parsed.success) {
      const field = String(parsed.error.issues[0]?.path[0] ?? 'body')
      throw new Error(`The answer's ${field} is not as docs/security.md says`)
    }
    const { subject, roles, documents, expiresSeconds = Infinity, issuedAt } = parsed.data
    const identity: Identity = {
      subject,
      roles,
      claims: { ...(answer as Record<string, unknown>), sub: subject },
      issuedMs: issuedAt === undefined ? null : issuedAt * 1000,
      expiresMs: askedMs + Math.min(this.options.cacheMs, expiresSeconds * 1000),
      renewable: true,
      ...rightsOf(documents),
    }
    return { identity, bytes: body.length }
  }

  private failed(why: string): void {
    this.failures++
    const nowMs = this.options.nowMs()
    if (this.closing.signal.aborted || nowMs - this.loggedMs < this.limits.logMs) return
    this.options.logger.warn(
      { why, failures: this.failures },
      'the authorisation service gave no usable answer',
    )
    this.loggedMs = nowMs
    this.failures = 0
  }
}

const refusalTexts: Readonly<Record<Refusal & ErrorCode, string>> = {
  unauthenticated: 'The authorisation service does not take this token',
  forbidden: 'The authorisation service does not allow this',
}
