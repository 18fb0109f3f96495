/**
 * Edits of one Hocuspocus session, both ways.
 *
 *   step 1 ─▶ our step 1, then step 2      once the socket takes more: whoever asks and does not read is not answered
 *   update, step 2 ─▶ the room ─▶ a status once it is durable (sync-statuses.ts)
 *        └ before what it builds on ─▶ after the first step 2 (hocuspocus-early.ts)
 */
import { engines } from '../../core/engine/engines.ts'
import { noOffset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/error-codes.ts'
import { TooEarly } from '../room/fact-guard.ts'
import type { Room } from '../room/room.ts'
import type { Session, UnnamedUpdates } from '../room/session.ts'
import type { HocuspocusDialect } from './hocuspocus-dialect.ts'
import type { EarlyUpdates } from './hocuspocus-early.ts'
import type { SocketLine } from './socket-line.ts'
import { SyncStatuses } from './sync-statuses.ts'

export class HocuspocusSync implements UnnamedUpdates {
  readonly session: Session
  private readonly room: Room
  private readonly dialect: HocuspocusDialect
  private readonly line: SocketLine
  private readonly early: EarlyUpdates
  private readonly statuses = new SyncStatuses(engines.yjs)
  /** A step 1 that waits for the socket to take more, and whether the provider counts anew with it. */
  private pending: { readonly version: Uint8Array; readonly restarted: boolean } | null = null

  constructor(
    room: Room,
    dialect: HocuspocusDialect,
    line: SocketLine,
    early: EarlyUpdates,
    begin: (unnamed: UnnamedUpdates) => Session,
  ) {
    this.room = room
    this.dialect = dialect
    this.line = line
    this.early = early
    this.session = begin(this)
  }

  /** To the latest step 1. Throws `malformed_frame`, rejects as `Room.join`. */
  answer(version: Uint8Array): Promise<void> {
    engines.yjs.validateVersion(version)
    return this.answerLatest(version)
  }

  private async answerLatest(version: Uint8Array): Promise<void> {
    const waits = this.pending !== null
    const restarted = this.statuses.restarted(version)
    // Those that were not sent in time come last, and are older.
    if (!waits || restarted) this.pending = { version, restarted }
    if (waits) return
    await this.line.writable()
    const { pending, session, room, dialect } = this
    this.pending = null
    if (pending === null || session.state === 'closed') return
    if (pending.restarted) this.askBack()
    await room.join(session, { version: pending.version, offset: noOffset }, (joined) =>
      dialect.syncStep2(joined),
    )
  }

  /** Throws as `Room.submit`, once the refusal was told; a reader goes on. False when that was refused. */
  submit(update: Uint8Array, whole: boolean): boolean {
    const taken = whole ? this.submitWhole(update) : this.submitUpdate(update, null)
    if (this.statuses.owing) this.room.owe(this.session)
    return taken
  }

  private submitWhole(update: Uint8Array): boolean {
    const taken = this.takeWhole(update)
    for (const { update, weight } of this.early.end()) this.submitUpdate(update, weight)
    return taken
  }

  private takeWhole(update: Uint8Array): boolean {
    const { statuses } = this
    try {
      statuses.wholeTaken(!this.room.submit(this.session, update, true))
      return true
    } catch (error) {
      this.refuse(error)
      statuses.wholeRefused()
      return false
    }
  }

  /** `weight` null: as of now. */
  private submitUpdate(update: Uint8Array, weight: number | null): boolean {
    const { statuses, early } = this
    try {
      const durable = !this.room.submit(this.session, update, false)
      statuses.updateTaken(weight ?? statuses.weightOf(update), durable)
      return true
    } catch (error) {
      if (error instanceof TooEarly && early.keeps) {
        early.keep({ update, weight: statuses.weightOf(update) })
        return true
      }
      this.refuse(error)
      statuses.updateRefused(weight ?? statuses.weightOf(update))
      return false
    }
  }

  /** Tells it. Throws it unless its client may go on. */
  private refuse(error: unknown): void {
    this.line.write(this.dialect.frame({ kind: 'sync-status', applied: false }))
    // After anything else, what comes next would lean on what is missing.
    if (!(error instanceof TidemarkError) || error.code !== 'read_only') throw error
  }

  /** It may write now: edits that it has shown, and that were refused, are asked for. */
  mayWrite(): void {
    if (!this.statuses.askAnew()) return
    this.early.begin()
    this.askBack()
  }

  private askBack(): void {
    this.session.write(
      this.dialect.frame({ kind: 'sync-step-1', version: this.room.version(this.session.engine) }),
      Date.now(),
    )
  }

  settled(): void {
    const { statuses } = this
    const wasOwing = statuses.owing
    statuses.settled()
    if (statuses.owing && !wasOwing) this.room.owe(this.session)
  }

  delivered(): void {
    const count = this.statuses.take()
    if (count > 0) this.session.write(this.dialect.applieds(count), Date.now())
  }
}
