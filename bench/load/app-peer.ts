/** A peer as an app has it: the WebSocket of the `ws` package, which makes an event and a buffer of each message. */
import WebSocket from 'ws'
import { emptyStateVector, emptyUpdate } from './frames.ts'
import type { Peer, PeerOptions } from './peer.ts'
import { carriesUpdate } from './updates.ts'

export function openAppPeer(options: PeerOptions): Peer {
  const { host, port } = options.address
  const socket = new WebSocket(`ws://${host}:${port}/${options.document}`, { perMessageDeflate: false })
  let ending = false
  const message = (step: number, payload: Uint8Array) => Buffer.from([0, step, payload.length, ...payload])
  const opened = new Promise<void>((resolve) => socket.once('open', () => resolve()))
  const ready = new Promise<void>((resolve, reject) => {
    socket.once('open', () => {
      if (options.handshake) socket.send(message(0, emptyStateVector))
      else resolve()
    })
    socket.on('message', (bytes: Buffer) => {
      if (carriesUpdate(bytes, 0)) {
        options.onUpdate(bytes, 0, bytes.length)
        options.onRead?.()
        if (bytes[1] === 1) resolve()
      } else if (bytes[0] === 0 && bytes[1] === 0 && options.handshake) socket.send(message(1, emptyUpdate))
      else options.onFrame?.(bytes, 0, bytes.length)
    })
    const broken = (reason: string) => {
      if (ending) return
      ending = true
      reject(new Error(reason))
      options.onBroken(reason)
    }
    socket.on('error', (error) => broken(error.message))
    socket.on('close', () => broken('connection closed'))
  })
  // A peer that breaks after its join tells through onBroken only.
  ready.catch(() => {})
  return {
    opened,
    ready,
    socket: {
      write() {
        throw new Error('a reader writes nothing')
      },
      end() {
        ending = true
        socket.terminate()
      },
    },
  }
}
