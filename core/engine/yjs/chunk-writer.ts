/**
 * Collects an update as chunks: long ranges of other bytes as views, short ones and numbers copied
 * together. Ranges that continue each other become one view.
 */
import { ByteWriter } from '../../bytes.ts'

/** A shorter range is copied: a chunk of its own costs its reader more than the copy. */
const viewBytesMin = 2048

export class ChunkWriter {
  private readonly chunks: Uint8Array[] = []
  private small = new ByteWriter()
  private source: Uint8Array | null = null
  private start = 0
  private end = 0

  varUint(value: number): this {
    this.settle()
    this.small.varUint(value)
    return this
  }

  uint8(value: number): this {
    this.settle()
    this.small.uint8(value)
    return this
  }

  copy(source: Uint8Array, start: number, end: number): this {
    if (start === end) return this
    if (source === this.source && start === this.end) {
      this.end = end
      return this
    }
    this.settle()
    this.source = source
    this.start = start
    this.end = end
    return this
  }

  finish(): Uint8Array[] {
    this.settle()
    this.flush()
    return this.chunks
  }

  private settle(): void {
    if (this.source === null) return
    const range = this.source.subarray(this.start, this.end)
    this.source = null
    if (range.length < viewBytesMin) {
      this.small.raw(range)
    } else {
      this.flush()
      this.chunks.push(range)
    }
  }

  private flush(): void {
    if (this.small.position === 0) return
    this.chunks.push(this.small.finish())
    this.small = new ByteWriter()
  }
}
