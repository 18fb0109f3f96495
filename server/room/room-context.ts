/** What every room of a node is given. */
import type { DocumentId } from '../../core/document-id.ts'
import type { FactRules } from '../../core/domain/facts/door.ts'
import type { TailStats } from '../compaction/policy.ts'
import type { Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { ImageBudget } from './image.ts'
import type { PresencePace } from './presence-pace.ts'
import type { Room } from './room.ts'
import type { RoomPresenceLimits } from './room-presence.ts'
import type { SubmitLimits } from './submits.ts'
import type { Tick } from './tick.ts'

export interface RoomLimits extends RoomPresenceLimits, SubmitLimits {}

export interface RoomContext {
  readonly log: Log
  readonly tick: Tick
  /** Of presence. */
  readonly pace: PresencePace
  readonly images: ImageBudget
  readonly limits: RoomLimits
  readonly logger: Logger
  readonly metrics: Metrics
  /** Called when the tail has grown; decides whether to compact. */
  readonly onTail: (document: DocumentId, stats: TailStats) => void
  /** The room is of no use any more. */
  readonly onFailed: (room: Room) => void
  /** Null: no adapter says that the document holds facts. */
  readonly factRulesOf: (document: DocumentId) => FactRules | null
}
