/**
 * In place of the server, for joiners whose work is to be told from the server's: a thread that answers each of them with the
 * bytes that the server would, and does nothing else.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { encode } from 'cborg'
import { WebSocket, WebSocketServer } from 'ws'
import { decodeClientFrame } from '../../core/protocol/automerge-repo.ts'
import type { AutomergeEndpoint } from './automerge-peer.ts'
import type { Address } from './socket.ts'

export interface StandIn {
  readonly address: Address
  stop(): Promise<void>
}

export async function startStandIn(answer: Uint8Array): Promise<StandIn> {
  const worker = new Worker(new URL(import.meta.url), { workerData: answer })
  const [port] = (await once(worker, 'message')) as [number]
  return {
    address: { host: '127.0.0.1', port },
    stop: async () => {
      await worker.terminate()
    },
  }
}

/** The message with which the server gives the document to somebody who has nothing. */
export async function answerOf(
  { address, path }: AutomergeEndpoint,
  documentId: string,
  data: Uint8Array,
): Promise<Uint8Array> {
  const socket = new WebSocket(`ws://${address.host}:${address.port}/${path}`)
  const from = { senderId: 'first', targetId: 'server' }
  try {
    await once(socket, 'open')
    socket.send(encode({ type: 'join', ...from, peerMetadata: {}, supportedProtocolVersions: ['1'] }))
    socket.send(encode({ type: 'request', ...from, documentId, data }))
    for (;;) {
      const [bytes] = (await once(socket, 'message')) as [Buffer]
      if (decodeClientFrame(bytes).type === 'sync') return bytes
    }
  } finally {
    socket.terminate()
  }
}

function serve(answer: Uint8Array): void {
  const frame = Buffer.allocUnsafe(10 + answer.length)
  frame[0] = 0x82
  frame[1] = 127
  frame.writeBigUInt64BE(BigInt(answer.length), 2)
  frame.set(answer, 10)
  const peer = encode({ type: 'peer', senderId: 'server', peerMetadata: {}, selectedProtocolVersion: '1' })
  const sockets = new WebSocketServer({ noServer: true })
  const server = createServer()
  server.on('upgrade', (request, socket, head) =>
    sockets.handleUpgrade(request, socket, head, (ws) => {
      let messages = 0
      ws.on('message', () => {
        if (messages++ === 0) ws.send(peer)
        else if (messages === 2) (socket as Socket).write(frame)
      })
      ws.on('error', () => ws.terminate())
    }),
  )
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () =>
    parentPort!.postMessage((server.address() as AddressInfo).port),
  )
}

if (!isMainThread && parentPort !== null) serve(workerData as Uint8Array)
