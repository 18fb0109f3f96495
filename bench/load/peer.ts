/**
 * One y-websocket client's side of the join: step 1 out, the server's step 1 answered with what the
 * client has, `ready` once step 2 came. Against a raw server `ready` is the upgrade. Data then goes to
 * `onUpdate` frame by frame.
 */
import { emptyStateVector, emptyUpdate, syncFrame } from './frames.ts'
import { HocuspocusFrames } from './hocuspocus.ts'
import { LoadSocket } from './socket.ts'
import type { Endpoint } from './spec.ts'
import { carriesUpdate } from './updates.ts'

export interface PeerOptions extends Endpoint {
  readonly document: string
  readonly stateVector?: Uint8Array
  /** Answer to the server's step 1. */
  readonly step2?: Uint8Array
  /** A frame that carries an update; step 2 is one. */
  onUpdate(bytes: Buffer, start: number, end: number): void
  /** Any other data frame. */
  onFrame?(bytes: Buffer, start: number, end: number): void
  /** After the last frame of a read. */
  onRead?(): void
  onBroken(reason: string): void
}

export interface PeerSocket {
  /** A whole masked frame. */
  write(bytes: Buffer): void
  end(): void
}

export interface Peer {
  readonly socket: PeerSocket
  readonly opened: Promise<void>
  readonly ready: Promise<void>
}

export interface WritingPeer extends Peer {
  /** What its server wants before each message. */
  readonly address: Uint8Array
  /** Whole masked frames with the address in them. */
  writeAddressed(bytes: Buffer): void
}

const noAddress = new Uint8Array(0)
const emptyStep1Frame = syncFrame(0, emptyStateVector)
const emptyStep2Frame = syncFrame(1, emptyUpdate)

export function openPeer(options: PeerOptions): WritingPeer {
  let opened: () => void = () => {}
  let ready: () => void = () => {}
  let refused: (error: Error) => void = () => {}
  const openedPromise = new Promise<void>((resolve) => {
    opened = resolve
  })
  const readyPromise = new Promise<void>((resolve, reject) => {
    ready = resolve
    refused = reject
  })
  // A peer that breaks after its join tells through onBroken only.
  readyPromise.catch(() => {})
  const step1Frame = options.stateVector === undefined ? emptyStep1Frame : syncFrame(0, options.stateVector)
  const step2Frame = options.step2 === undefined ? emptyStep2Frame : syncFrame(1, options.step2)
  const { address, document, hocuspocusPath } = options
  const frames = hocuspocusPath === undefined ? null : new HocuspocusFrames(document)
  const messageAddress = frames?.address ?? noAddress
  const addressBytes = messageAddress.length
  const plain = new LoadSocket(address, hocuspocusPath ?? document, {
    onOpen() {
      opened()
      if (frames !== null) plain.write(frames.authentication())
      if (options.handshake) socket.write(step1Frame)
      else ready()
    },
    onFrame(bytes, from, end) {
      const start = from + addressBytes
      if (carriesUpdate(bytes, start)) {
        options.onUpdate(bytes, start, end)
        if (bytes[start + 1] === 1) ready()
      } else if (bytes[start] === 0 && bytes[start + 1] === 0 && options.handshake) socket.write(step2Frame)
      else options.onFrame?.(bytes, start, end)
    },
    onRead() {
      options.onRead?.()
    },
    onBroken(reason) {
      refused(new Error(reason))
      options.onBroken(reason)
    },
  })
  const socket: PeerSocket =
    frames === null ? plain : { write: (bytes) => plain.write(frames.rewrite(bytes)), end: () => plain.end() }
  return {
    socket,
    opened: openedPromise,
    ready: readyPromise,
    address: messageAddress,
    writeAddressed: (bytes) => plain.write(bytes),
  }
}

/** Opens them a few at a time, so that joining is not what is measured. */
export async function joinInTurns<P extends Peer>(count: number, open: (index: number) => P): Promise<P[]> {
  const atOnce = 50
  const peers: P[] = []
  for (let from = 0; from < count; from += atOnce) {
    const some = Array.from({ length: Math.min(atOnce, count - from) }, (_, i) => open(from + i))
    await Promise.all(some.map((peer) => peer.ready))
    peers.push(...some)
  }
  return peers
}

export async function until(condition: () => boolean, deadlineMs: number): Promise<boolean> {
  const end = performance.now() + deadlineMs
  while (!condition()) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return true
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
