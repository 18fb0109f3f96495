/**
 * What an import has done so far, beside its source: whatever ends it, the next one goes on from there.
 *
 *   { relay, id, sha256, offset, epoch }     a line for each document that the relay has, and that was compared
 *
 * A line holds for the same bytes at the same relay: who changes the source, or imports it elsewhere, imports anew. It is removed
 * when all documents are there, so that it never speaks of an import of long ago. Nothing is lost without it: what
 * the relay has already, it answers as a duplicate and stores no second time.
 */
import { LineFile } from './line-file.ts'

export interface Done {
  readonly id: string
  /** Of the bytes in the source. */
  readonly sha256: string
  readonly offset: number
  readonly epoch: number
}

export class Journal {
  readonly path: string
  private readonly lines: LineFile
  private readonly relay: string
  private readonly done = new Map<string, Done>()

  private constructor(path: string, lines: LineFile, relay: string, anew: boolean) {
    this.path = path
    this.lines = lines
    this.relay = relay
    if (anew) return
    for (const value of lines.values)
      if (isDone(value) && value.relay === relay) this.done.set(value.id, value)
  }

  /** `relay`: its address. `anew`: as if nothing were done. */
  static async open(path: string, relay: string, anew: boolean): Promise<Journal> {
    const lines = await LineFile.open(path)
    try {
      await lines.prepare()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new Error(`The journal ${path} cannot be written (${code}): --journal puts it elsewhere`)
    }
    return new Journal(path, lines, relay, anew)
  }

  find(id: string, sha256: string): Done | null {
    const done = this.done.get(id)
    return done?.sha256 === sha256 ? done : null
  }

  add(done: Done): Promise<void> {
    return this.lines.append({ relay: this.relay, ...done })
  }

  close(): Promise<void> {
    return this.lines.close()
  }

  remove(): Promise<void> {
    return this.lines.remove()
  }
}

function isDone(value: unknown): value is Done & { readonly relay: string } {
  const { relay, id, sha256, offset, epoch } = (value ?? {}) as Partial<Record<string, unknown>>
  return (
    typeof relay === 'string' &&
    typeof id === 'string' &&
    typeof sha256 === 'string' &&
    typeof offset === 'number' &&
    typeof epoch === 'number'
  )
}
