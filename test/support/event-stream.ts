/** A live query as its listener sees it: events of one HTTP answer, applied to rows. It reads only while it is told to. */
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { apply } from '../../core/protocol/live-rows.ts'
import type { LiveRow, QueryRow } from '../../core/protocol/query.ts'

export interface StreamOptions {
  readonly token?: string | null
  readonly params?: readonly unknown[]
  readonly key?: string
  /** Of an event before. */
  readonly has?: string | null
  /** As a body; else in the address. */
  readonly post?: boolean
  readonly headers?: Record<string, string>
}

export class EventStream {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly events: string[] = []
  /** Of an answer that is none. */
  problem: { readonly code: string; readonly detail: string } | null = null
  error: { readonly code: string; readonly message: string } | null = null
  list: readonly LiveRow[] | null = null
  columns: readonly { name: string; type: string }[] = []
  id: string | null = null
  comments = 0
  retryMs = 0
  bytes = 0
  ended = false
  private text = ''
  private readonly sent: ClientRequest
  private readonly answer: IncomingMessage

  private constructor(sent: ClientRequest, answer: IncomingMessage, list: readonly LiveRow[] | null) {
    this.sent = sent
    this.answer = answer
    this.list = list
    this.status = answer.statusCode ?? 0
    this.headers = answer.headers
    answer.setEncoding('utf8')
    answer.on('data', (text: string) => this.take(text))
    answer.on('close', () => {
      this.ended = true
    })
    answer.on('error', () => undefined)
  }

  /** `before`: what an earlier stream has. */
  static open(
    url: string,
    sql: string,
    options: StreamOptions = {},
    before: EventStream | null = null,
  ): Promise<EventStream> {
    const { token = null, params, key, has = before?.id ?? null, post = false } = options
    const asked = new URLSearchParams({ sql })
    if (params !== undefined) asked.set('params', JSON.stringify(params))
    if (key !== undefined) asked.set('key', key)
    const headers = {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(has === null ? {} : { 'last-event-id': has }),
      ...(post ? { 'content-type': 'application/json' } : {}),
      ...options.headers,
    }
    return new Promise((resolve, reject) => {
      const sent = request(post ? `${url}/v1/live` : `${url}/v1/live?${asked}`, {
        method: post ? 'POST' : 'GET',
        headers,
        agent: false,
      })
      sent.on('error', reject)
      sent.on('response', (answer) => resolve(new EventStream(sent, answer, before?.list ?? null)))
      sent.end(post ? JSON.stringify({ sql, params, key }) : undefined)
    })
  }

  get rows(): QueryRow[] | undefined {
    return this.list?.map(({ row }) => row)
  }

  pause(): void {
    this.answer.pause()
  }
  resume(): void {
    this.answer.resume()
  }
  close(): void {
    this.sent.destroy()
  }

  private take(text: string): void {
    this.bytes += text.length
    this.text += text
    if (this.headers['content-type']?.startsWith('application/problem') === true) {
      this.problem = JSON.parse(this.text)
      return
    }
    for (let end = this.text.indexOf('\n\n'); end >= 0; end = this.text.indexOf('\n\n')) {
      this.event(this.text.slice(0, end))
      this.text = this.text.slice(end + 2)
    }
  }

  private event(text: string): void {
    const fields = new Map(
      text.split('\n').map((line) => {
        const at = line.indexOf(':')
        return [line.slice(0, at), line.slice(at + 1).trimStart()]
      }),
    )
    if (fields.has('')) this.comments++
    this.retryMs = Number(fields.get('retry') ?? this.retryMs)
    const name = fields.get('event')
    if (name === undefined) return
    const data = JSON.parse(fields.get('data') ?? '')
    this.events.push(name)
    if (name === 'error') this.error = data
    else {
      this.list = name === 'rows' ? data.rows : apply(this.list ?? [], data)
      if (name === 'rows') this.columns = data.columns
      this.id = fields.get('id') ?? null
    }
  }
}
