/**
 * How far announcing has got, in the log itself: entries and snapshot of `webhooksDocument`, each this JSON.
 *
 *   {"format":1,"cursor":123,"replay":0}
 *
 * Every change up to `cursor` (a sequence of `Log.changes`) is delivered or dropped. That stays true whoever writes it
 * and however late, so a holder that lost its term does no harm with an old one: it only has others deliver twice.
 * The last entry counts. `replay`: the highest WEBHOOK_REPLAY that was begun.
 *
 * Offsets are contiguous: one that jumps tells that another node writes, too, and that this one should stop.
 *
 * What cannot be read is an error, never a first start: that would skip changes (P3).
 */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { noOffset, type Offset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Log } from '../log/log.ts'
import { webhooksDocument } from './term.ts'

export interface Position {
  readonly cursor: number
  readonly replay: number
}

const positionSchema = z.object({
  format: z.literal(1),
  cursor: z.int().min(0),
  replay: z.int().min(0),
})

const tailCountMax = 100
const none = new Uint8Array()

export class StoredPosition {
  private readonly log: Pick<Log, 'append' | 'load' | 'compact'>
  private readonly origin = `webhooks-${randomUUID()}`
  private offset: Offset = noOffset
  private snapshotOffset: Offset = noOffset

  constructor(log: Pick<Log, 'append' | 'load' | 'compact'>) {
    this.log = log
  }

  /** Null before the first start ever. */
  async load(): Promise<Position | null> {
    const { snapshot, tail, offset } = await this.log.load(webhooksDocument)
    this.offset = offset
    this.snapshotOffset = snapshot?.offset ?? noOffset
    const bytes = tail.at(-1)?.update ?? snapshot?.bytes
    return bytes === undefined ? null : decode(bytes)
  }

  /** Resolves when it is durable; false when somebody else has written since `load`. */
  async save(position: Position): Promise<boolean> {
    const update = encode(position)
    const entry = { timeMs: Date.now(), author: '', origin: this.origin, update }
    const [appended] = await this.log.append(webhooksDocument, [entry])
    if (appended === undefined || appended.offset !== this.offset + 1) return false
    this.offset = appended.offset
    if (this.offset - this.snapshotOffset > tailCountMax) await this.compact(update)
    return true
  }

  private async compact(bytes: Uint8Array): Promise<void> {
    const snapshot = { offset: this.offset, bytes, index: none, metadata: none }
    // False: another node did it, and the next jump of an offset will tell.
    if (await this.log.compact(webhooksDocument, snapshot, this.snapshotOffset))
      this.snapshotOffset = this.offset
  }
}

const encode = (position: Position): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ format: 1, cursor: position.cursor, replay: position.replay }))

function decode(bytes: Uint8Array): Position {
  try {
    return positionSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new TidemarkError('document_unreadable', 'The stored position of webhooks cannot be read', {
      cause: error,
    })
  }
}
