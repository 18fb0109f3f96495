/**
 * The relay, over its HTTP API (docs/http.md). It may run anywhere, and has its log open: that is why nothing here touches a
 * data folder.
 *
 *   answer                                   what follows
 *   429, 502, 503, 504, or none at all       again, later: `Retry-After` or twice as long as before, with jitter
 *   401                                      `RelayError`, fatal: it will be so for every other document
 *   any other refusal                        `RelayError` with the relay's own words
 *
 * Repeating is safe: an update that was stored is answered as a duplicate. A redirect is refused, because a token would
 * go to whoever it leads to.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export interface RelayOptions {
  /** http://host:port, perhaps with a path. */
  readonly url: string
  readonly token: string | null
  /** Of one request, after its first try. */
  readonly retriesMax: number
  readonly signal: AbortSignal
  readonly waitMsMin?: number
  /** Told when a request has to wait. */
  readonly waiting?: (reason: string) => void
}

export class RelayError extends Error {
  /** A code of the error table, or null when no relay said it. */
  readonly code: string | null
  /** True when no other request can succeed either. */
  readonly isFatal: boolean
  constructor(message: string, code: string | null, isFatal = false, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RelayError'
    this.code = code
    this.isFatal = isFatal
  }
}

export interface Appended {
  readonly offset: number
  readonly duplicate: boolean
}

export interface Held {
  readonly bytes: Uint8Array
  readonly offset: number
  readonly epoch: number
}

export interface HistoryPage {
  readonly runs: readonly { readonly from: number; readonly to: number }[]
  readonly entries: readonly { readonly offset: number }[]
  readonly next: number | null
}

const waitMsMinDefault = 250
const waitMsMax = 30_000
/** A relay that takes a connection and then says nothing is none. */
const answerMsMax = 600_000
const pageMax = 1_000

export class Relay {
  readonly url: string
  private readonly options: RelayOptions

  constructor(options: RelayOptions) {
    this.options = options
    this.url = options.url.replace(/\/+$/, '')
  }

  /** Rejects at once when nobody answers, or the token is not taken. */
  async greet(): Promise<void> {
    await this.ask('GET', '/documents?limit=1', { retriesMax: 0, accepts: [403] })
  }

  async append(id: string, update: Uint8Array): Promise<Appended> {
    const { response } = await this.ask('POST', `${pathOf(id)}/updates`, { body: update })
    return (await response.json()) as Appended
  }

  async read(id: string): Promise<Held> {
    const { response, body } = await this.ask('GET', `${pathOf(id)}/update`, { whole: true })
    return { bytes: body, ...placeOf(response) }
  }

  /** What it has of a document that had `offset` and `epoch`: the same, more, or nothing that follows from it. */
  async since(id: string, { offset, epoch }: Omit<Held, 'bytes'>): Promise<'same' | 'more' | 'other'> {
    const { response } = await this.ask('GET', `${pathOf(id)}/update?after=${offset}`, {
      accepts: [404, 410],
    })
    // The rest may be the whole document.
    await response.body?.cancel()
    if (!response.ok) return 'other'
    const now = placeOf(response)
    if (now.epoch !== epoch || now.offset < offset) return 'other'
    return now.offset === offset ? 'same' : 'more'
  }

  /** Null when it is still as the ETag says. */
  async readJson(id: string, etag: string | null): Promise<Held | null> {
    const headers = etag === null ? {} : { 'if-none-match': etag }
    const { response, body } = await this.ask('GET', pathOf(id), { whole: true, headers, accepts: [304] })
    if (response.status === 304) return null
    const [, epoch, offset] = /"(\d+)-(\d+)"/.exec(response.headers.get('etag') ?? '') ?? []
    return { bytes: body, offset: Number(offset), epoch: Number(epoch) }
  }

  async history(id: string, after: number): Promise<HistoryPage> {
    const { response } = await this.ask('GET', `${pathOf(id)}/history?limit=${pageMax}&after=${after}`)
    return (await response.json()) as HistoryPage
  }

  async *list(prefix: string): AsyncGenerator<string> {
    for (let after = ''; ; ) {
      const query = new URLSearchParams({ prefix, after, limit: String(pageMax) })
      const { response } = await this.ask('GET', `/documents?${query}`)
      const page = (await response.json()) as {
        readonly documents: readonly { readonly id: string }[]
        readonly next: string | null
      }
      for (const { id } of page.documents) yield id
      if (page.next === null) return
      after = page.next
    }
  }

  private async ask(method: string, path: string, request: Request = {}): Promise<Answer> {
    const { retriesMax = this.options.retriesMax } = request
    for (let attempt = 0; ; attempt++) {
      const tried = await this.attempt(method, path, request)
      if (!('failure' in tried)) return tried
      const { failure, waitMs } = tried
      if (waitMs === null) throw failure
      if (attempt >= retriesMax) throw await this.givenUp(failure)
      this.options.waiting?.(failure.message)
      await sleep(Math.max(waitMs, this.backoffMs(attempt)), undefined, { signal: this.options.signal })
    }
  }

  /** What is cut off again and again, by a relay that is there, is wrong with this request only. */
  private async givenUp(failure: RelayError): Promise<RelayError> {
    if (!failure.isFatal) return failure
    const greeting = await this.attempt('GET', '/documents?limit=1', { accepts: [403] })
    return 'failure' in greeting ? failure : new RelayError(failure.message, null, false, { cause: failure })
  }

  private async attempt(method: string, path: string, request: Request): Promise<Answer | Failed> {
    const { token, signal } = this.options
    const { body, headers, accepts = [], whole = false } = request
    signal.throwIfAborted()
    try {
      const response = await fetch(`${this.url}/v1${path}`, {
        method,
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(answerMsMax)]),
        headers: {
          ...headers,
          ...(token !== null && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/octet-stream' }),
        },
        ...(body !== undefined && { body: body as BodyInit }),
      })
      if (response.ok || accepts.includes(response.status))
        return { response, body: whole ? new Uint8Array(await response.arrayBuffer()) : new Uint8Array() }
      return await refusalOf(response)
    } catch (error) {
      signal.throwIfAborted()
      const reason = reasonOf(error)
      const failure = new RelayError(`No relay answers at ${this.url} (${reason})`, null, true, {
        cause: error,
      })
      return { failure, waitMs: 0 }
    }
  }

  private backoffMs(attempt: number): number {
    const ceiling = Math.min(waitMsMax, (this.options.waitMsMin ?? waitMsMinDefault) * 2 ** attempt)
    return ceiling * (0.5 + Math.random() / 2)
  }
}

interface Request {
  readonly body?: Uint8Array
  readonly headers?: Record<string, string>
  /** Statuses beside 2xx that are an answer. */
  readonly accepts?: readonly number[]
  /** Read the body as bytes, as a part of the request that is repeated. */
  readonly whole?: boolean
  readonly retriesMax?: number
}

interface Answer {
  readonly response: Response
  readonly body: Uint8Array
}

interface Failed {
  readonly failure: RelayError
  /** At least; null when a repetition would be refused too. */
  readonly waitMs: number | null
}

async function refusalOf(response: Response): Promise<Failed> {
  const { status } = response
  const text = await response.text()
  let problem: { code?: string; detail?: string; advice?: string } = {}
  try {
    problem = JSON.parse(text) as typeof problem
  } catch {
    // Not the relay's answer, but that of something before it.
  }
  const { code = null, detail = `${status} ${response.statusText}`, advice } = problem
  const failure = new RelayError(advice === undefined ? detail : `${detail}. ${advice}`, code, status === 401)
  if (![429, 502, 503, 504].includes(status)) return { failure, waitMs: null }
  const seconds = Number(response.headers.get('retry-after'))
  return { failure, waitMs: Number.isFinite(seconds) ? Math.min(seconds * 1_000, waitMsMax) : 0 }
}

const pathOf = (id: string): string => `/documents/${encodeURIComponent(id)}`

function placeOf({ headers }: Response): Omit<Held, 'bytes'> {
  return { offset: Number(headers.get('tidemark-offset')), epoch: Number(headers.get('tidemark-epoch')) }
}

/** `fetch` itself says only that it failed. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } }
  return cause?.code ?? cause?.message ?? message
}
