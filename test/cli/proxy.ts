/** Stands between the command line and a relay, and changes what passes, or keeps it back. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface RelayProxy {
  readonly url: string
  /** Updates that were pushed so far. */
  readonly pushed: () => number
  close(): void
}

export interface Passing {
  /** What is pushed in place of an update. */
  readonly push?: (update: Buffer) => Buffer
  /** What is read in place of a document. */
  readonly read?: (document: Buffer) => Buffer
  /** Before the answer to the nth push, from 1, is passed on; the relay has it. */
  readonly answering?: (push: number) => Promise<void>
}

export async function startProxy(relay: () => string, passing: Passing, port = 0): Promise<RelayProxy> {
  let pushed = 0
  const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const isPush = request.method === 'POST'
    const sent = isPush && passing.push !== undefined ? passing.push(body) : body
    const answer = await fetch(`${relay()}${request.url}`, {
      method: request.method ?? 'GET',
      headers: { 'content-type': 'application/octet-stream' },
      ...(isPush && { body: new Uint8Array(sent) }),
    })
    const given = Buffer.from(await answer.arrayBuffer())
    if (isPush) {
      pushed++
      await passing.answering?.(pushed)
    }
    const isRead = request.url?.endsWith('/update') === true && passing.read !== undefined
    const headers = [...answer.headers].filter(([name]) => name.startsWith('tidemark'))
    response.writeHead(answer.status, Object.fromEntries(headers)).end(isRead ? passing.read(given) : given)
  }
  const server = createServer((request, response) => {
    // As a relay that is gone: the connection ends.
    pass(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pushed: () => pushed,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
