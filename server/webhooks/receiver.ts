/**
 * One attempt at an announcement: signed as Standard Webhooks 1.0.0 says, posted, and judged by the status. Never
 * rejects. The address is not redirected: what is signed goes to whom the configuration names, and neither the
 * address nor the secret is in anything that can be logged.
 */
import { createHmac } from 'node:crypto'
import { failureOf } from '../access/limited-body.ts'
import type { Announcement } from './announcement.ts'

export type Outcome =
  | { readonly is: 'delivered' }
  /** It wants this no more, and said so. */
  | { readonly is: 'gone'; readonly why: string }
  /** Trying again will hardly help. */
  | { readonly is: 'refused'; readonly why: string; readonly retryAfterMs: number }
  /** Trying again will help some day. `everybody`: it wants fewer requests, whatever they are about. */
  | {
      readonly is: 'failed'
      readonly why: string
      readonly retryAfterMs: number
      readonly everybody: boolean
    }

export interface ReceiverOptions {
  readonly url: string
  readonly secret: Uint8Array
  readonly timeoutMs: number
}

/** What an answer says is ignored; so much of it is read that the connection can be used again. */
const answerBytesMax = 64 * 1024
export const retryAfterMsMax = 3_600_000

export class Receiver {
  private readonly options: ReceiverOptions

  constructor(options: ReceiverOptions) {
    this.options = options
  }

  /** For logs: the rest of the URL may contain a secret. */
  get host(): string {
    return new URL(this.options.url).host
  }

  async post({ id, body }: Announcement, signal: AbortSignal): Promise<Outcome> {
    const { url, secret, timeoutMs } = this.options
    const seconds = Math.floor(Date.now() / 1000)
    const timeout = AbortSignal.timeout(timeoutMs)
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'tidemark',
          'webhook-id': id,
          'webhook-timestamp': String(seconds),
          'webhook-signature': signatureOf(secret, id, seconds, body),
        },
        redirect: 'manual',
        body,
        signal: AbortSignal.any([timeout, signal]),
      })
      await discardBody(response)
      return outcomeOf(response.status, response.headers.get('retry-after'), Date.now())
    } catch (error) {
      const why = timeout.aborted ? `no answer within ${timeoutMs} ms` : failureOf(error)
      return { is: 'failed', why, retryAfterMs: 0, everybody: false }
    }
  }
}

/** The `webhook-signature` of a message. */
export function signatureOf(secret: Uint8Array, id: string, seconds: number, body: string): string {
  return `v1,${createHmac('sha256', secret).update(`${id}.${seconds}.${body}`).digest('base64')}`
}

export function outcomeOf(status: number, retryAfter: string | null, nowMs: number): Outcome {
  const why = `status ${status}`
  if (status >= 200 && status < 300) return { is: 'delivered' }
  if (status === 410) return { is: 'gone', why }
  const retryAfterMs = retryAfterMsOf(retryAfter, nowMs)
  if (status === 429) return { is: 'failed', why, retryAfterMs, everybody: true }
  if (status >= 500) return { is: 'failed', why, retryAfterMs, everybody: false }
  return { is: 'refused', why, retryAfterMs }
}

/** Of the header `Retry-After`, seconds or a date; 0 when it says nothing. */
function retryAfterMsOf(value: string | null, nowMs: number): number {
  if (value === null) return 0
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs
  return Number.isNaN(ms) ? 0 : Math.min(Math.max(0, ms), retryAfterMsMax)
}

async function discardBody(response: Response): Promise<void> {
  if (response.body === null) return
  let bytes = 0
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length
      if (bytes > answerBytesMax) return
    }
  } catch {
    // The status has said everything.
  }
}
