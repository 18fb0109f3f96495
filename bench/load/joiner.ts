/**
 * One join, counted and not kept: a 20 MB answer runs through one buffer that all joiners share, so that
 * 150 of them cost this process nothing but the reading. Done when the last byte of step 2 has come,
 * from a raw server when the one message has.
 *
 * Frames are told apart by their headers only; the first bytes of a payload say what it is. With `keep` the
 * update is put together as well, for a witness that looks into it.
 */
import { connect } from 'node:net'
import { emptyUpdate, syncFrame } from './frames.ts'
import { HocuspocusFrames } from './hocuspocus.ts'
import type { Endpoint } from './spec.ts'
import { syncMessage } from './updates.ts'

export interface JoinOptions extends Endpoint {
  readonly document: string
  /** What to send first: step 1, or what a raw server understands. Null: nothing, and the upgrade is all. */
  readonly ask: Buffer | null
  readonly keep?: boolean
  readonly deadlineMs: number
  /** Payload bytes, before and after the join. */
  onPayload?(bytes: number): void
  /** The connection ended, after the join, without `end()`. */
  onBroken?(): void
}

export interface Joined {
  /** From the connect to the last byte. */
  readonly milliseconds: number
  /** Everything that came after the upgrade until then. */
  readonly bytes: number
  readonly update: Buffer | null
  write(frame: Buffer): void
  /** The connection stays open, and what comes is dropped, until this is called. */
  end(): void
}

const readBuffer = Buffer.allocUnsafeSlow(512 * 1024)
const emptyStep2Frame = syncFrame(1, emptyUpdate)
const upgradeEnd = Buffer.from('\r\n\r\n')

export function joinOnce(options: JoinOptions): Promise<Joined> {
  const { address, document, handshake, hocuspocusPath } = options
  const frames = hocuspocusPath === undefined ? null : new HocuspocusFrames(document)
  const addressBytes = frames?.address.length ?? 0
  const framed = (frame: Buffer): Buffer => frames?.rewrite(frame) ?? frame
  return new Promise((resolve, reject) => {
    const from = performance.now()
    const kept: Buffer[] = []
    let upgrade: Buffer | null = Buffer.alloc(0)
    let bytes = 0
    let done = false
    let ended = false

    const finish = (): void => {
      done = true
      clearTimeout(timeout)
      const payload = options.keep === true ? Buffer.concat(kept) : null
      const update =
        payload === null ? null : payload.subarray(syncMessage(payload, addressBytes)?.start ?? 0)
      resolve({
        milliseconds: performance.now() - from,
        bytes,
        update,
        write: (frame) => socket.write(framed(frame)),
        end() {
          ended = true
          socket.destroy()
        },
      })
    }
    const onFrameEnd = (first: number, second: number): void => {
      if (handshake && first === 0 && second === 0) socket.write(framed(emptyStep2Frame))
      if (done || (handshake && (first !== 0 || second !== 1))) return
      finish()
    }
    const walk = frameWalker(addressBytes, onFrameEnd, (part, isFirst) => {
      options.onPayload?.(part.length)
      if (options.keep !== true || done) return
      if (isFirst) kept.length = 0
      kept.push(Buffer.from(part))
    })
    const read = (chunk: Buffer): boolean => {
      let start = 0
      if (upgrade !== null) {
        const head = Buffer.concat([upgrade, chunk])
        const end = head.indexOf(upgradeEnd)
        if (end < 0) {
          upgrade = head
          return true
        }
        const status = head.toString('latin1', 0, head.indexOf('\r'))
        if (!status.includes(' 101 ')) {
          fail(`not upgraded: ${status}`)
          return true
        }
        start = end + 4 - upgrade.length
        upgrade = null
        if (options.ask === null) finish()
        else {
          if (frames !== null) socket.write(frames.authentication())
          socket.write(framed(options.ask))
        }
      }
      bytes += chunk.length - start
      walk(chunk, start)
      return true
    }
    const socket = connect({
      ...address,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length, buffer) => read((buffer as Buffer).subarray(0, length)),
      },
    })
    const fail = (reason: string): void => {
      clearTimeout(timeout)
      socket.destroy()
      reject(new Error(`join of ${document}: ${reason}`))
    }
    const timeout = setTimeout(() => fail(`not done in ${options.deadlineMs} ms`), options.deadlineMs)
    socket.once('connect', () => {
      socket.write(
        `GET /${hocuspocusPath ?? document} HTTP/1.1\r\nHost: ${address.host}:${address.port}\r\nUpgrade: websocket\r\n` +
          'Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
      )
    })
    socket.on('error', (error) => fail(error.message))
    socket.on('close', () => {
      if (!done) fail('connection closed')
      else if (!ended) options.onBroken?.()
    })
  })
}

/** Calls back with the parts of each frame's payload, and at its end with two bytes of it, from `looksAt` on. */
function frameWalker(
  looksAt: number,
  onEnd: (first: number, second: number) => void,
  onPart: (part: Buffer, isFirst: boolean) => void,
): (chunk: Buffer, start: number) => void {
  const head = Buffer.alloc(10)
  let headLength = 0
  let left = 0
  let seen = 0
  let first = -1
  let second = -1
  return (chunk, start) => {
    let at = start
    while (at < chunk.length) {
      if (left === 0) {
        head[headLength++] = chunk[at++]!
        const size = head[1]! & 0x7f
        const needed = headLength < 2 ? 2 : size === 126 ? 4 : size === 127 ? 10 : 2
        if (headLength < needed) continue
        headLength = 0
        seen = 0
        first = -1
        second = -1
        left = needed === 2 ? size : needed === 4 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2))
        if (left === 0) onEnd(first, second)
        continue
      }
      const taken = Math.min(left, chunk.length - at)
      if (seen <= looksAt && seen + taken > looksAt) first = chunk[at + looksAt - seen]!
      if (seen <= looksAt + 1 && seen + taken > looksAt + 1) second = chunk[at + looksAt + 1 - seen]!
      onPart(chunk.subarray(at, at + taken), seen === 0)
      seen += taken
      left -= taken
      at += taken
      if (left === 0) onEnd(first, second)
    }
  }
}
