/**
 * A real HTTP server on 127.0.0.1 that takes announcements. It verifies each signature by itself, from the
 * specification of Standard Webhooks, and notes what it cannot believe; what it answers is up to the test.
 */
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { until } from '../../support/wait.ts'

export const secretText = `whsec_${Buffer.from('a secret of 32 bytes, all of them').toString('base64')}`
const secret = Buffer.from(secretText.slice('whsec_'.length), 'base64')

export interface Received {
  readonly id: string
  readonly type: string
  readonly timestamp: string
  readonly document: string
  readonly offset: number
  readonly epoch: number
  readonly atMs: number
  readonly headers: IncomingMessage['headers']
}

/** A status, or what to do with the response: nothing leaves it open. */
export type Answer = number | ((response: ServerResponse) => void)

export class ReceiverUnderTest {
  readonly received: Received[] = []
  readonly doubtful: string[] = []
  answer: (received: Received, attempt: number) => Answer = () => 204
  underWay = 0
  underWayMost = 0
  private readonly attempts = new Map<string, number>()
  private server = createServer()
  private port = 0

  get url(): string {
    return `http://127.0.0.1:${this.port}/hooks?key=not-to-be-logged`
  }

  /** On the port it had before, if any. */
  async start(): Promise<void> {
    this.server = createServer((request, response) => {
      this.underWayMost = Math.max(this.underWayMost, ++this.underWay)
      response.once('close', () => this.underWay--)
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.once('end', () => this.take(request, Buffer.concat(chunks), response))
    })
    this.server.listen(this.port, '127.0.0.1')
    await once(this.server, 'listening')
    const address = this.server.address()
    if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
    this.port = address.port
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
    this.server.closeAllConnections()
    await once(this.server, 'close')
  }

  of(document: string): Received[] {
    return this.received.filter((received) => received.document === document)
  }

  /** Waits until the document was announced at this offset, or a later one. */
  async hasHeard(document: string, offset: number): Promise<void> {
    const heard = () => this.of(document).some((received) => received.offset >= offset)
    await until(`${document} announced at ${offset}`, heard)
  }

  private take(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
    const header = (name: string): string => String(request.headers[name] ?? '')
    const [id, seconds] = [header('webhook-id'), header('webhook-timestamp')]
    const expected = createHmac('sha256', secret).update(`${id}.${seconds}.`).update(body).digest('base64')
    if (header('webhook-signature') !== `v1,${expected}`) this.doubtful.push(`signature of ${id}`)
    if (!/^[\w-]+$/.test(id)) this.doubtful.push(`id ${id}`)
    if (Math.abs(Date.now() / 1000 - Number(seconds)) > 60) this.doubtful.push(`time ${seconds}`)
    if (request.method !== 'POST' || header('content-type') !== 'application/json')
      this.doubtful.push(`${request.method} of ${header('content-type')}`)
    const { type, timestamp, data } = JSON.parse(body.toString('utf8'))
    const received = { id, type, timestamp, ...data, atMs: Date.now(), headers: request.headers } as Received
    const attempt = this.attempts.get(id) ?? 0
    this.attempts.set(id, attempt + 1)
    this.received.push(received)
    const answer = this.answer(received, attempt)
    if (typeof answer === 'number') response.writeHead(answer).end('thank you')
    else answer(response)
  }
}
