/**
 * How soon a room may tell presence again: at once when it is cheap, gathered when it is not.
 *
 *   wait = what the last telling took × `restPerWork`      so no room takes more than a seventeenth of the thread,
 *          or its bytes ÷ `frameBytesPerMs`                nor floods its readers,
 *          or what the node's rooms have taken of late     nor do many rooms take more than a fifth of it together,
 *          at least `frameMsMin`, at most `awarenessFrameMs`
 *
 * Five people hear of each other within some milliseconds, five hundred twenty times a second in frames that hold what
 * all have done. What it took is measured, not reckoned from receivers and entries: a slower machine gathers longer by
 * itself, and the cost of reading what comes in counts too.
 *
 * One for all rooms of a node. No timers: time is an argument.
 */
/** Between two frames of a room, however cheap they are. */
export const frameMsMin = 5
const restPerWork = 16
const frameBytesPerMs = 400
/** The share of the thread that all rooms may take before they gather longer. */
const nodeShare = 0.2
/** Saved up by a node that has little to tell: so much may be taken before that. */
const savedMsMax = 100

export class PresencePace {
  private savedMs = savedMsMax
  private atMs = 0
  private readonly frameMsMax: number

  /** Nobody waits longer than `frameMsMax`, whatever it costs. */
  constructor(frameMsMax: number) {
    this.frameMsMax = frameMsMax
  }

  /** For a room that has just told so many bytes to each, which took `workMs`: how long it gathers now. */
  waitMs(workMs: number, frameBytes: number, nowMs: number): number {
    const { frameMsMax } = this
    const earnedMs = Math.max(0, nowMs - this.atMs) * nodeShare
    this.atMs = nowMs
    this.savedMs = Math.max(0, Math.min(savedMsMax, this.savedMs + earnedMs) - workMs)
    const shortOfMs = frameMsMax * (1 - this.savedMs / savedMsMax)
    const waitMs = Math.max(frameMsMin, workMs * restPerWork, frameBytes / frameBytesPerMs, shortOfMs)
    return Math.min(waitMs, frameMsMax)
  }
}
