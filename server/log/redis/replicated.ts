/**
 * Nothing leaves the log that fewer than `replicas` replicas of Redis have (`REDIS_REPLICAS`): behind what
 * is sent in one turn stands one WAIT, and no reply counts before its own. So an edit that was acked, shown
 * or loaded is on that many replicas, in their memory, and a failover to one of them keeps it (P1).
 *
 *   FCALL append, FCALL read, …   PUBLISH   WAIT replicas ms   ──▶  all replies, or `log_unavailable`
 *
 * The PUBLISH goes to nobody: WAIT waits for the last write of its own connection, and what was only read, or was
 * a duplicate, or came by the channel, was written on another.
 *
 * Redis answers nothing else on the connection while it waits, so one WAIT is under way at a time, and
 * what is sent meanwhile shares the next. An append that was not replicated in time is in Redis all the same: its
 * reply counts as lost, and the caller's retry under the same key waits for it again.
 *
 * Rejected: publishing only after the wait, with a command of its own, which would leave loads ahead of it.
 */
import type { Client, Connection } from './connection.ts'
import { unavailable } from './failure.ts'

export interface ReplicaLimits {
  /** How long replicas may take; commands wait behind it, so it must be well below their own time limit. */
  readonly replicasMsMax: number
  /** Bytes of messages from the channels that wait for it. */
  readonly passingBytesMax: number
}

export const replicaLimits: ReplicaLimits = { replicasMsMax: 1_000, passingBytesMax: 64 * 1024 * 1024 }

/** What reads and appends need of a connection. */
export type Commands = Pick<Connection, 'command' | 'commandForBuffers' | 'live'>

export class Replicated implements Commands {
  private readonly connection: Connection
  private readonly replicas: number
  private readonly limits: ReplicaLimits
  private readonly onMissed: () => void
  private underWay: Promise<void> | null = null
  private next: Promise<void> | null = null
  private passingBytes = 0

  /** `onMissed`: what others appended was not taken in, and has to be looked for once replicas have it. */
  constructor(connection: Connection, replicas: number, limits: ReplicaLimits, onMissed: () => void) {
    this.connection = connection
    this.replicas = replicas
    this.limits = limits
    this.onMissed = onMissed
  }

  get live(): Client {
    return this.connection.live
  }

  command(args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.afterReplicas(this.connection.command(args))
  }

  commandForBuffers(args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.afterReplicas(this.connection.commandForBuffers(args))
  }

  /** Resolves once everything that Redis has written so far is on the replicas. */
  confirmed(): Promise<void> {
    if (this.replicas === 0) return Promise.resolve()
    this.next ??= this.waitNext()
    return this.next
  }

  /** The same on a connection that is still being set up. */
  async confirmOn(send: (args: readonly string[]) => Promise<unknown>): Promise<void> {
    if (this.replicas === 0) return
    const { replicasMsMax } = this.limits
    const [, found] = await Promise.all([
      send(['PUBLISH', 'tidemark:wait', '']),
      send(['WAIT', String(this.replicas), String(replicasMsMax)]),
    ])
    if (Number(found) < this.replicas)
      throw unavailable(
        `Only ${Number(found)} of ${this.replicas} replicas of Redis had it within ${replicasMsMax} ms`,
      )
  }

  /** Takes a channel's message in once what it tells is confirmed. Dropped when that fails, or too many bytes wait. */
  pass(message: Buffer, take: () => void): void {
    if (this.replicas === 0) {
      take()
      return
    }
    if (this.passingBytes + message.length > this.limits.passingBytesMax) return this.onMissed()
    this.passingBytes += message.length
    this.confirmed()
      .then(take, this.onMissed)
      .finally(() => {
        this.passingBytes -= message.length
      })
  }

  private async afterReplicas(reply: Promise<unknown>): Promise<unknown> {
    if (this.replicas === 0) return reply
    // The reply's own error is the better reason.
    const outcome = this.confirmed().then(
      () => null,
      (error: unknown) => ({ error }),
    )
    const value = await reply
    const failed = await outcome
    if (failed !== null) throw failed.error
    return value
  }

  private async waitNext(): Promise<void> {
    // What else is sent in this turn goes before; `confirmOn` below tells whoever asked how it went.
    await (this.underWay ?? new Promise<void>((resolve) => process.nextTick(resolve))).catch(() => {})
    const wait = this.confirmOn((args) => this.connection.command(args))
    this.underWay = wait
    this.next = null
    try {
      await wait
    } finally {
      if (this.underWay === wait) this.underWay = null
    }
  }
}
