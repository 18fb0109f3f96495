/** An HTTP server that says of queries what a test tells it to say: what a relay says in its turn is tested with relays. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { LiveEvent } from '../../core/protocol/query.ts'

export interface Asked {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: Record<string, unknown>
}
type Answer = (asked: Asked, response: ServerResponse) => void

export class ViewsServer {
  readonly asked: Asked[] = []
  /** What it answers to the next request; the last stays. */
  answers: Answer[] = []
  readonly #server: Server = createServer((request, response) => void this.#answer(request, response))
  #port = 0

  /** Again on the same port. */
  async start(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Cuts everybody off. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Asked['body']
    const asked = { path: request.url ?? '', headers: request.headers, body }
    this.asked.push(asked)
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0]
    if (answer === undefined) throw new Error('the test gave no answer')
    answer(asked, response)
  }
}

export const json =
  (body: object, status = 200, headers: Record<string, string> = {}): Answer =>
  (_asked, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  }

export const problem = (code: string, status: number, headers?: Record<string, string>): Answer =>
  json({ code, detail: `because of ${code}` }, status, headers)

/** A stream that stays open, and what says something on it. */
export function stream(...first: (LiveEvent & { id?: string })[]): {
  readonly answer: Answer
  say(event: LiveEvent & { id?: string }): void
  end(): void
} {
  let open: ServerResponse | null = null
  const say = ({ event, data, id }: LiveEvent & { id?: string }): void => {
    const text = `event: ${event}\ndata: ${JSON.stringify(data)}\n${id === undefined ? '' : `id: ${id}\n`}\n`
    // In two pieces, wherever they break.
    open?.write(text.slice(0, 9))
    open?.write(text.slice(9))
  }
  return {
    answer: (_asked, response) => {
      open = response
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
      for (const event of first) say(event)
    },
    say,
    end: () => open?.end(),
  }
}
