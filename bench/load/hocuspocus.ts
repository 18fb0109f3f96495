/**
 * The same messages as a Hocuspocus provider sends them: the document's name before each, and a token before all. Frames are
 * built for y-websocket and rewritten here, so that every load can be put on both kinds of server; where they are many, whoever
 * builds them puts `address` before each at once.
 */
import { clientFrame, writeVarUint } from './frames.ts'

/** Of a masked client frame, with a mask that is not zero. */
const maskBytes = 4

export class HocuspocusFrames {
  /** What comes before each message in a frame. */
  readonly address: Buffer

  constructor(document: string) {
    const name = Buffer.from(document)
    const length = Buffer.allocUnsafe(5)
    this.address = Buffer.concat([length.subarray(0, writeVarUint(length, 0, name.length)), name])
  }

  /** Whole masked frames in, as many out. */
  rewrite(frames: Buffer): Buffer {
    const rewritten: Buffer[] = []
    let at = 0
    while (at < frames.length) {
      const opcode = frames[at]! & 15
      let length = frames[at + 1]! & 0x7f
      let start = at + 2
      if (length === 126) {
        length = frames.readUInt16BE(start)
        start += 2
      } else if (length === 127) {
        length = Number(frames.readBigUInt64BE(start))
        start += 8
      }
      const payload = Buffer.allocUnsafe(length)
      for (let i = 0; i < length; i++) payload[i] = frames[start + maskBytes + i]! ^ frames[start + (i & 3)]!
      // Answers to pings have no document.
      rewritten.push(opcode === 2 ? this.frame(payload) : frames.subarray(at, start + maskBytes + length))
      at = start + maskBytes + length
    }
    return Buffer.concat(rewritten)
  }

  /** An empty token: there is no authentication, and the provider sends one all the same. */
  authentication(): Buffer {
    return this.frame(Buffer.from([2, 0, 0]))
  }

  private frame(message: Buffer): Buffer {
    return clientFrame(Buffer.concat([this.address, message]))
  }
}
