/**
 * What webhooks take from the configuration. Nothing here reads the environment; server/config.ts does.
 */
export interface WebhooksConfig {
  readonly WEBHOOK_URL?: string | undefined
  readonly WEBHOOK_SECRET?: string | undefined
  readonly WEBHOOK_DEBOUNCE_MS: number
  readonly WEBHOOK_TIMEOUT_MS: number
  readonly WEBHOOK_CONCURRENCY: number
  readonly WEBHOOK_REPLAY: number
}

export interface WebhooksSettings {
  readonly url: string
  readonly secret: Uint8Array
  readonly debounceMs: number
  readonly timeoutMs: number
  readonly concurrency: number
  /** When it is higher than the one stored, every document is announced once more. */
  readonly replay: number
}

const prefix = 'whsec_'
/** What the Standard Webhooks specification asks for. */
const secretBytesMin = 24

/** Null when webhooks are off. */
export function webhooksSettings(config: WebhooksConfig): WebhooksSettings | null {
  const secret = secretOf(config.WEBHOOK_SECRET ?? '')
  if (config.WEBHOOK_URL === undefined || secret === null) return null
  return {
    url: config.WEBHOOK_URL,
    secret,
    debounceMs: config.WEBHOOK_DEBOUNCE_MS,
    timeoutMs: config.WEBHOOK_TIMEOUT_MS,
    concurrency: config.WEBHOOK_CONCURRENCY,
    replay: config.WEBHOOK_REPLAY,
  }
}

/** The bytes that sign: those that `whsec_<base64>` stands for, or those of the text; null when too few, or no base64. */
export function secretOf(text: string): Uint8Array | null {
  const encoded = text.startsWith(prefix) ? text.slice(prefix.length) : null
  const bytes = encoded === null ? Buffer.from(text) : Buffer.from(encoded, 'base64')
  // `Buffer.from` skips what is not base64, and a skipped character would make another key of it.
  if (encoded !== null && bytes.toString('base64').replace(/=+$/, '') !== encoded.replace(/=+$/, ''))
    return null
  return bytes.length < secretBytesMin ? null : bytes
}

/** Sentences to show whoever starts the relay; none when all is well. */
export function webhooksContradictionsIn(config: WebhooksConfig): string[] {
  if ((config.WEBHOOK_URL === undefined) === (config.WEBHOOK_SECRET === undefined)) return []
  return config.WEBHOOK_URL === undefined
    ? ['WEBHOOK_SECRET without WEBHOOK_URL: nothing would be announced']
    : ['WEBHOOK_URL without WEBHOOK_SECRET: receivers could not tell who announces']
}
