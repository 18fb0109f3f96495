/** One client's section of an update, assembled from pieces: copies, Skips over gaps, and rests of structs that are cut. */
import type { ChunkWriter } from './chunk-writer.ts'
import { runWidth } from './scan.ts'
import { type Place, type Source, seek, writeFrom } from './split-struct.ts'
import { skipInfo } from './struct-scanner.ts'

/** A run of a source. */
export interface Piece {
  readonly source: Source
  readonly run: number
  readonly first: number
  readonly end: number
}

type Step =
  | { readonly kind: 'skip'; readonly length: number }
  | { readonly kind: 'copy'; readonly bytes: Uint8Array; readonly start: number; readonly end: number }
  | { readonly kind: 'rest'; readonly bytes: Uint8Array; readonly place: Place; readonly offset: number }

export class Section {
  /** The clock up to which the section, or the replica, has everything that the pieces gave. */
  reached: number
  private readonly client: number
  private readonly steps: Step[] = []
  private structs = 0
  private first = 0

  constructor(client: number, reached: number) {
    this.client = client
    this.reached = reached
  }

  get isEmpty(): boolean {
    return this.structs === 0
  }

  /** What the piece has from `reached` on. */
  add(piece: Piece): void {
    if (piece.end <= this.reached) return
    if (piece.first >= this.reached) {
      this.begin(piece.first)
      this.copyFrom(piece, runStart(piece), 0)
      return
    }
    this.begin(this.reached)
    const place = seek(piece.source, piece.run, this.reached)
    if (place.clock === this.reached) {
      this.copyFrom(piece, place.start, place.structsBefore)
      return
    }
    const offset = this.reached - place.clock
    this.steps.push({ kind: 'rest', bytes: piece.source.bytes, place, offset })
    this.structs++
    this.copyFrom(piece, place.end, place.structsBefore + 1)
  }

  /** The piece from the beginning of the struct that holds `clock`, which lies past `reached`. */
  addFromStructAt(piece: Piece, clock: number): void {
    const place = seek(piece.source, piece.run, clock)
    this.begin(place.clock)
    this.copyFrom(piece, place.start, place.structsBefore)
  }

  write(writer: ChunkWriter): void {
    writer.varUint(this.structs).varUint(this.client).varUint(this.first)
    for (const step of this.steps) {
      if (step.kind === 'copy') writer.copy(step.bytes, step.start, step.end)
      else if (step.kind === 'skip') writer.uint8(skipInfo).varUint(step.length)
      else writeFrom(writer, step.bytes, this.client, step.place, step.offset)
    }
  }

  private begin(clock: number): void {
    if (this.structs === 0) {
      this.first = clock
    } else if (clock > this.reached) {
      this.steps.push({ kind: 'skip', length: clock - this.reached })
      this.structs++
    }
  }

  private copyFrom(piece: Piece, start: number, structsBefore: number): void {
    const { runs } = piece.source.layout
    const at = piece.run * runWidth
    this.steps.push({ kind: 'copy', bytes: piece.source.bytes, start, end: runs[at + 4]! })
    this.structs += runs[at + 5]! - structsBefore
    this.reached = piece.end
  }
}

function runStart({ source, run }: Piece): number {
  return source.layout.runs[run * runWidth + 3]!
}
